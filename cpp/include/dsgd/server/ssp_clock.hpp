// The clock of stale synchronous parallel training (Ho et al. 2013): the numbers of finished clocks
// of all workers that count.
#pragma once

#include <algorithm>  // for max
#include <cstddef>    // for size_t
#include <cstdint>    // for uint64_t
#include <map>        // for map
#include <optional>   // for optional

namespace dsgd::server {

class SspClock {
 public:
  /// A worker that pulls may be `staleness` clocks ahead of the slowest worker. Without a value
  /// there is no bound.
  explicit SspClock(std::optional<std::uint64_t> staleness) : staleness_(staleness) {}

  void add(std::uint64_t clock) {
    ++workers_at_[clock];
    ++size_;
  }

  void remove(std::uint64_t clock) {
    last_ = std::max(last_, fastest());
    --size_;
    const auto at = workers_at_.find(clock);
    if (--at->second == 0) workers_at_.erase(at);
  }

  void advance(std::uint64_t from, std::uint64_t to) {
    add(to);
    remove(from);
  }

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// The least and the largest number of finished clocks. Without workers both are the largest
  /// number so far, so that nothing waits.
  [[nodiscard]] std::uint64_t slowest() const { return empty() ? last_ : workers_at_.begin()->first; }
  [[nodiscard]] std::uint64_t fastest() const { return empty() ? last_ : workers_at_.rbegin()->first; }

  /// Whether a pull at `clock` may be answered now.
  [[nodiscard]] bool admits(std::uint64_t clock) const {
    return !staleness_ || clock <= *staleness_ || clock - *staleness_ <= slowest();
  }

  [[nodiscard]] bool barrier() const noexcept { return staleness_ == 0U; }

 private:
  std::optional<std::uint64_t> staleness_;
  std::map<std::uint64_t, std::size_t> workers_at_;
  std::size_t size_ = 0;
  std::uint64_t last_ = 0;
};

}  // namespace dsgd::server
