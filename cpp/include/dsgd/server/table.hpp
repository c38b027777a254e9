// One table of one shard. A copy is cheap, because copies share pages. The server applies the
// waiting pushes of a worker to a copy when this worker pulls.
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
  /// Whether pushes take effect only at the end of their clock.
  [[nodiscard]] bool per_clock() const noexcept { return rule_ == Rule::average || rule_ == Rule::blend; }

  /// Throw Error(protocol) for a push that does not fit the table, and for keys that the table does
  /// not have.
  void check(const net::Values& values, double weight) const;
  void check_keys(const net::Keys& keys) const;

  /// Applies a push that was checked. Scaled rules divide by `live`, the number of workers.
  void apply(const Update& update, std::size_t live);
  /// To be called after all pushes of a clock.
  void finish_clock();
  /// Removes the contribution of a lost worker, whose rows are no longer part of the objective.
  void forget(std::uint32_t worker);

  /// The rows of `keys`, or all rows.
  [[nodiscard]] net::Numbers read(const std::optional<net::Keys>& keys) const;
  /// The pages of all rows, without a copy, if the rule keeps the values in pages.
  [[nodiscard]] std::optional<net::Rope> rope() const;
  /// Sets all values. To be called before the first push.
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

/// Write a push into arrays of a checkpoint, and read it back. `prefix` begins the names of the
/// arrays.
void save_update(Checkpoint& checkpoint, const std::string& prefix, const Update& update);
[[nodiscard]] Update restore_update(const Checkpoint& checkpoint, const std::string& prefix);

}  // namespace dsgd::server
