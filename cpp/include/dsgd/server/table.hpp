// One table of one shard: a copy is cheap (pages are shared), which is how a worker reads its own waiting pushes.
#pragma once

#include <cstddef>   // for size_t
#include <cstdint>   // for uint32_t, uint64_t
#include <optional>  // for optional
#include <span>      // for span
#include <string>    // for string
#include <variant>   // for variant

#include "dsgd/server/checkpoint.hpp"
#include "dsgd/server/table_spec.hpp"
#include "dsgd/server/update_rule.hpp"

namespace dsgd::server {

class Table {
 public:
  Table(const TableSpec& spec, std::size_t shard, std::size_t n_shards);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] RowRange range() const noexcept { return range_; }
  /// Whether pushes take effect at the end of their clock only.
  [[nodiscard]] bool per_clock() const noexcept { return rule_ == Rule::average || rule_ == Rule::blend; }

  /// Throws Error(protocol) unless this is a push that the table can take, or keys that it has.
  void check(const net::Values& values, double weight) const;
  void check_keys(const net::Keys& keys) const;

  /// Applies a push that was checked; `live` workers share the scaled rule.
  void apply(const Update& update, std::size_t live);
  /// All pushes of a clock have been applied.
  void finish_clock();
  /// A worker is lost: what it stands for is no longer part of the objective.
  void forget(std::uint32_t worker);

  /// The rows of `keys`, or all.
  [[nodiscard]] net::Numbers read(const std::optional<net::Keys>& keys) const;
  /// All rows as they lie in pages, if the rule has them so.
  [[nodiscard]] std::optional<net::Rope> rope() const;
  /// Sets all values, as before the first push.
  void assign(const net::Numbers& values);

  void save(Checkpoint& checkpoint) const;
  void restore(const Checkpoint& checkpoint);

 private:
  template <typename Visitor>
  decltype(auto) visit(Visitor&& visitor) {
    return std::visit([&](auto& typed) { return std::visit(visitor, typed); }, state_);
  }
  template <typename Visitor>
  decltype(auto) visit(Visitor&& visitor) const {
    return std::visit([&](const auto& typed) { return std::visit(visitor, typed); }, state_);
  }

  std::string name_;
  Rule rule_;
  net::DType dtype_;
  std::size_t width_;
  RowRange range_;
  std::size_t n_values_;
  std::variant<RuleOf<float>, RuleOf<double>> state_;
};

/// Pushes as arrays of a checkpoint, and back; `prefix` begins their names.
void save_update(Checkpoint& checkpoint, const std::string& prefix, const Update& update);
[[nodiscard]] Update restore_update(const Checkpoint& checkpoint, const std::string& prefix);

}  // namespace dsgd::server
