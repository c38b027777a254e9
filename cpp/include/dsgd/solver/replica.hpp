// A thread's own copy of the shared weights, for Hogwild! and dual coordinate ascent.
#pragma once

#include <algorithm>  // for min
#include <cstddef>    // for size_t
#include <mutex>      // for mutex, scoped_lock, unique_lock
#include <span>       // for span
#include <vector>     // for vector

#include "dsgd/core/types.hpp"
#include "dsgd/solver/merge_plan.hpp"

namespace dsgd {

/// If threads write the same few weights at every step, the cache lines of these weights move
/// between the cores all the time, and two threads are slower than one. A replica avoids this: its
/// thread alone writes it, and adds its changes to the shared weights from time to time (a merge).
/// An update arrives late, as any update of Hogwild! may, but none is lost. All replicas of the
/// same weights share a mutex. A thread waits for the mutex only at the beginning and the end of an
/// epoch. Measurements are in docs/design/throughput.md.
template <RealType Real>
class alignas(64) Replica {  // no two replicas share a cache line
 public:
  /// Copies the shared weights. The memory of the copy is kept from one epoch to the next.
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

  /// Counts a sample. If a merge is due and no other thread is merging, merges the weights that the
  /// plan names. Returns whether it has merged.
  bool advance(const MergePlan& plan) {
    if (++since_ < plan.samples) return false;
    const std::unique_lock lock(*mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return false;  // try again after the next sample
    since_ = 0;
    const std::size_t end = own_.size() - plan.always;
    merge(0, std::min(plan.extent(++merges_), end));
    merge(end, own_.size());
    return true;
  }

  /// Merges all weights, at the end of an epoch.
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
