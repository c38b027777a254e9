// A thread's own copy of the shared weights.
#pragma once

#include <algorithm>  // for min
#include <cstddef>    // for size_t
#include <mutex>      // for mutex, scoped_lock, unique_lock
#include <span>       // for span
#include <vector>     // for vector

#include "dsgd/core/types.hpp"
#include "dsgd/solver/merge_plan.hpp"

namespace dsgd {

/// Where threads write the same few weights at every step, the cache lines of these travel between the cores all the
/// time and two threads are slower than one. A replica is written in private and its changes are added to the shared
/// weights now and then: an update arrives late, as any update of Hogwild! may, but none is lost. All replicas of some
/// weights take the same mutex, and none waits for it before the end.
template <RealType Real>
class alignas(64) Replica {  // no two in one cache line
 public:
  /// Takes over the shared weights; memory is kept from one epoch to the next.
  void begin(std::span<Real> shared, std::mutex& mutex) {
    shared_ = shared;
    mutex_ = &mutex;
    {
      const std::scoped_lock lock(mutex);
      own_.assign(shared.begin(), shared.end());
    }
    base_ = own_;
    since_ = merges_ = 0;
  }

  [[nodiscard]] std::span<Real> weights() { return own_; }

  /// Counts a sample and, where one is due and nobody else is at it, merges as far as the plan says. Returns whether it
  /// merged.
  bool advance(const MergePlan& plan) {
    if (++since_ < plan.samples) return false;
    const std::unique_lock lock(*mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return false;  // after the next sample, then
    since_ = 0;
    const std::size_t end = own_.size() - plan.always;
    merge(0, std::min(plan.extent(++merges_), end));
    merge(end, own_.size());
    return true;
  }

  /// Merges everything, at the end of an epoch.
  void finish() {
    const std::scoped_lock lock(*mutex_);
    merge(0, own_.size());
  }

 private:
  void merge(std::size_t begin, std::size_t end) {
    Real* const own = own_.data();
    Real* const base = base_.data();
    Real* const shared = shared_.data();
#pragma omp simd
    for (std::size_t j = begin; j < end; ++j) {
      shared[j] += own[j] - base[j];
      own[j] = base[j] = shared[j];
    }
  }

  std::span<Real> shared_;
  std::mutex* mutex_ = nullptr;
  std::vector<Real> own_;
  std::vector<Real> base_;
  std::size_t since_ = 0;
  std::size_t merges_ = 0;
};

}  // namespace dsgd
