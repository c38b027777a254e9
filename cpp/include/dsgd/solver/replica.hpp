// A thread's own copy of the shared weights.
#pragma once

#include <cstddef>  // for size_t
#include <mutex>    // for mutex, scoped_lock
#include <span>     // for span
#include <vector>   // for vector

#include "dsgd/core/types.hpp"

namespace dsgd {

/// Where threads write the same few weights at every step, the cache lines of these travel between the cores all the
/// time and two threads are slower than one. A replica is written in private and its changes are added to the shared
/// weights now and then: an update arrives late, as any update of Hogwild! may, but none is lost. All replicas of some
/// weights take the same mutex.
template <RealType Real>
class Replica {
 public:
  Replica(std::span<Real> shared, std::mutex& mutex) : shared_(shared), mutex_(mutex) {
    const std::scoped_lock lock(mutex_);
    own_.assign(shared_.begin(), shared_.end());
    base_ = own_;
  }

  [[nodiscard]] std::span<Real> weights() { return own_; }

  /// Adds what changed here since the last time to the shared weights, and takes over what changed there.
  void merge() {
    const std::scoped_lock lock(mutex_);
    for (std::size_t j = 0; j < own_.size(); ++j) {
      shared_[j] += own_[j] - base_[j];
      own_[j] = base_[j] = shared_[j];
    }
  }

 private:
  std::span<Real> shared_;
  std::mutex& mutex_;
  std::vector<Real> own_;
  std::vector<Real> base_;
};

}  // namespace dsgd
