// Sums over all workers, added up in the order of ranks: the same bits however the contributions arrive.
#pragma once

#include <cstdint>   // for uint32_t, uint64_t
#include <map>       // for map
#include <optional>  // for optional
#include <utility>   // for move
#include <vector>    // for vector

#include "dsgd/net/messages.hpp"

namespace dsgd::server {

class AllReducer {
 public:
  /// The round that is being collected; all before it are complete.
  [[nodiscard]] std::uint64_t round() const noexcept { return round_; }
  void start_at(std::uint64_t round) { round_ = round; }

  /// Takes a contribution. One of a complete round is dropped; throws Error(protocol) for one of a round to come.
  void contribute(std::uint32_t worker, net::AllReduce contribution) {
    if (contribution.round < round_) return;
    if (contribution.round > round_) net::malformed("a contribution to an all-reduce that has not begun");
    contributions_.insert_or_assign(worker, std::move(contribution));
  }
  [[nodiscard]] bool has(std::uint32_t worker) const { return contributions_.contains(worker); }
  [[nodiscard]] bool empty() const { return contributions_.empty(); }

  /// What does not match the contribution of the lowest rank, in words.
  [[nodiscard]] std::optional<std::string> mismatch() const;

  /// Everybody has contributed: the result. Begins the next round.
  const net::Values& complete();

  /// The result of the last complete round. Those before it are wanted by nobody: who contributes to a round has got
  /// the one before it.
  [[nodiscard]] const net::Values* result(std::uint64_t round) const {
    return round + 1 == round_ && round_ > 0 && last_ ? &*last_ : nullptr;
  }

 private:
  std::uint64_t round_ = 0;
  std::map<std::uint32_t, net::AllReduce> contributions_;
  std::optional<net::Values> last_;
};

}  // namespace dsgd::server
