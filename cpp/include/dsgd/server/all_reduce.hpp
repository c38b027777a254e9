// Sums over all workers, added in the order of ranks, so that the result does not depend on the
// order of arrival, bit for bit.
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
  /// The number of the open round; all earlier rounds are complete.
  [[nodiscard]] std::uint64_t round() const noexcept { return round_; }
  void start_at(std::uint64_t round) { round_ = round; }

  /// Takes a contribution. A contribution to a complete round is dropped. Throws Error(protocol)
  /// for one to a later round.
  void contribute(std::uint32_t worker, net::AllReduce contribution) {
    if (contribution.round < round_) return;
    if (contribution.round > round_) net::malformed("a contribution to an all-reduce that has not begun");
    contributions_.insert_or_assign(worker, std::move(contribution));
  }
  /// Drops the contribution of a worker to the open round; in a new life it will give another.
  void withdraw(std::uint32_t worker) { contributions_.erase(worker); }
  [[nodiscard]] bool has(std::uint32_t worker) const { return contributions_.contains(worker); }
  [[nodiscard]] bool empty() const { return contributions_.empty(); }

  /// A message about the first contribution that does not match that of the lowest rank, if there
  /// is one.
  [[nodiscard]] std::optional<std::string> mismatch() const;

  /// Computes the result and begins the next round. All workers must have contributed.
  const net::Values& complete();

  /// The result of `round` if it is the last complete round, otherwise null. Nobody needs earlier
  /// results: a worker contributes to a round only after it has received the result of the round
  /// before.
  [[nodiscard]] const net::Values* result(std::uint64_t round) const {
    return round + 1 == round_ && round_ > 0 && last_ ? &*last_ : nullptr;
  }

 private:
  std::uint64_t round_ = 0;
  std::map<std::uint32_t, net::AllReduce> contributions_;
  std::optional<net::Values> last_;
};

}  // namespace dsgd::server
