// The delay of updates: the age of the weights from which they were computed.
#pragma once

#include <algorithm>  // for min
#include <atomic>     // for atomic
#include <cstddef>    // for size_t
#include <cstdint>    // for uint64_t
#include <vector>     // for vector

namespace dsgd {

/// Counts updates by their delay. The delay of an update is the number of updates of other threads
/// that finish after the update's weights are read and before the update finishes. A sample that
/// changes nothing counts as an update.
class Delays {
 public:
  /// A larger delay counts as this delay.
  static constexpr std::size_t kLargest = 65535;

  explicit Delays(std::size_t n_threads) : counts_(n_threads) {}

  /// One thread's view.
  class Thread {
   public:
    Thread(Delays& delays, std::size_t thread) : updates_(delays.updates_), counts_(delays.counts_[thread]) {
      counts_.resize(kLargest + 1);
      read();
    }

    /// To be called when the thread reads the weights, in the state that all finished updates have
    /// left.
    void read() {
      seen_ = updates_.load(std::memory_order_relaxed);
      own_ = 0;
    }

    void finish() {
      const std::uint64_t before = updates_.fetch_add(1, std::memory_order_relaxed);
      ++counts_[std::min<std::uint64_t>(before - seen_ - own_, kLargest)];
      ++own_;
    }

   private:
    std::atomic<std::uint64_t>& updates_;
    std::vector<std::uint64_t>& counts_;
    std::uint64_t seen_ = 0;
    std::uint64_t own_ = 0;  // updates of this thread since `read`, which are no delay
  };

  /// Counts updates of a thread that is alone.
  void count_undelayed(std::size_t n_updates) {
    if (counts_[0].empty()) counts_[0].resize(1);
    counts_[0][0] += n_updates;
  }

  /// Element d is the number of updates with delay d, of all threads. The last element is that of
  /// the largest delay that occurred.
  [[nodiscard]] std::vector<std::uint64_t> histogram() const {
    std::vector<std::uint64_t> sum;
    for (const auto& counts : counts_) {
      for (std::size_t d = 0; d < counts.size(); ++d) {
        if (counts[d] == 0) continue;
        if (d >= sum.size()) sum.resize(d + 1);
        sum[d] += counts[d];
      }
    }
    return sum;
  }

 private:
  std::atomic<std::uint64_t> updates_{0};
  std::vector<std::vector<std::uint64_t>> counts_;
};

}  // namespace dsgd
