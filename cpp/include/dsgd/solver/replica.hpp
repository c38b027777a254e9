// A thread's own copy of the shared weights, for Hogwild! and dual coordinate ascent.
#pragma once

#include <algorithm>  // for copy, min
#include <cmath>      // for ldexp
#include <cstddef>    // for size_t
#include <mutex>      // for mutex, scoped_lock, unique_lock
#include <span>       // for span
#include <vector>     // for vector

#include "dsgd/core/types.hpp"
#include "dsgd/solver/merge_plan.hpp"

namespace dsgd {

/// What the replicas of the same weights share. The weights may be kept as w = v / inverse: L2 then
/// multiplies `inverse`, and changes no weight. `weights` are v, in which the steps of all threads
/// add up, whenever they are made.
template <RealType Real>
struct SharedWeights {
  std::span<Real> weights;
  std::size_t n_scaled = 0;  // the first weights, which have the scale; the intercept has none
  double inverse = 1;        // of all steps that have been merged
  int folds = 0;             // times that v was divided by 2^kFold, with `inverse`
  std::mutex mutex;

  /// Before an epoch, by one thread.
  void begin(std::span<Real> shared, std::size_t scaled) {
    weights = shared;
    n_scaled = scaled;
    inverse = 1;
    folds = 0;
  }
};

/// If threads write the same few weights at every step, the cache lines of these weights move
/// between the cores all the time, and two threads are slower than one. A replica avoids this: its
/// thread alone writes it, and adds its changes to the shared weights from time to time (a merge).
/// An update arrives late, as any update of Hogwild! may, but none is lost. The scale is merged like
/// a weight: between merges a thread applies the L2 of its own steps, and at a merge that of the
/// others. A thread waits for the mutex only at the beginning and the end of an epoch, and in a
/// fold. Measurements are in docs/design/throughput.md.
template <RealType Real>
class alignas(64) Replica {  // no two replicas share a cache line
 public:
  /// Copies the shared weights. The memory of the copy is kept from one epoch to the next.
  void begin(SharedWeights<Real>& shared) {
    shared_ = &shared;
    {
      const std::scoped_lock lock(shared.mutex);
      memory_.resize(shared.weights.size() + 2 * kLine);
      own_ = std::span(memory_).subspan(kLine, shared.weights.size());
      std::ranges::copy(shared.weights, own_.begin());
      set_inverse(shared.inverse);
      folds_ = shared.folds;
    }
    base_.assign(own_.begin(), own_.end());
    changes_ = visits_ = merges_ = 0;
  }

  [[nodiscard]] std::span<Real> weights() { return own_; }
  [[nodiscard]] double scale() const { return scale_; }
  [[nodiscard]] double inverse() const { return inverse_; }

  /// Divides the scale by `divisor`, at most by 2^400, so that no scale becomes 0.
  void shrink(double divisor) {
    inverse_ *= std::min(divisor, 0x1p400);
    scale_ = 1 / inverse_;
    if (inverse_ > kMost) finish();
  }

  /// Counts a sample, and whether its step has changed weights. If a merge is due and no other
  /// thread is merging, merges the weights that the plan names. Returns whether it has merged.
  bool advance(const MergePlan& plan, bool changed) {
    ++visits_;
    if (changed) ++changes_;
    if (changes_ < plan.samples && visits_ < plan.most) return false;
    const std::unique_lock lock(shared_->mutex, std::try_to_lock);
    if (!lock.owns_lock()) return false;  // try again after the next sample
    changes_ = visits_ = 0;
    const std::size_t end = own_.size() - plan.always;
    merge_scale();
    merge(0, std::min(plan.extent(++merges_), end));
    merge(end, own_.size());
    return true;
  }

  /// Merges all weights.
  void finish() {
    const std::scoped_lock lock(shared_->mutex);
    merge_scale();
    merge(0, own_.size());
  }

 private:
  static constexpr std::size_t kLine = 64 / sizeof(Real);
  static constexpr int kFold = 40;
  static constexpr double kMost = 0x1p40;  // 2^kFold; v would overflow far above it

  void merge(std::size_t begin, std::size_t end) {
    Real* const own = own_.data();
    Real* const base = base_.data();
    Real* const shared = shared_->weights.data();
#pragma omp simd
    for (std::size_t j = begin; j < end; ++j) {
      shared[j] += own[j] - base[j];
      own[j] = base[j] = shared[j];
    }
  }

  void merge_scale() {
    shared_->inverse *= inverse_ / base_inverse_;
    while (shared_->inverse > kMost) {
      shared_->inverse = std::ldexp(shared_->inverse, -kFold);
      ++shared_->folds;
      divide(shared_->weights, 1);
    }
    if (folds_ != shared_->folds) {
      divide(own_, shared_->folds - folds_);
      divide(base_, shared_->folds - folds_);
      folds_ = shared_->folds;
    }
    set_inverse(shared_->inverse);
  }

  /// Divides v by 2^kFold `folds` times. This rounds nothing.
  void divide(std::span<Real> v, int folds) const {
    const auto factor = static_cast<Real>(std::ldexp(1.0, -kFold * folds));
    for (Real& each : v.first(shared_->n_scaled)) each *= factor;
  }

  void set_inverse(double inverse) {
    inverse_ = base_inverse_ = inverse;
    scale_ = 1 / inverse;
  }

  SharedWeights<Real>* shared_ = nullptr;
  std::vector<Real> memory_;  // `own_` between two cache lines of nothing: no replicas share one
  std::span<Real> own_;
  std::vector<Real> base_;  // `own_` after the last merge
  double inverse_ = 1;
  double base_inverse_ = 1;
  double scale_ = 1;  // 1 / inverse_
  int folds_ = 0;
  std::size_t changes_ = 0;  // samples since the last merge that changed weights
  std::size_t visits_ = 0;   // all samples since the last merge
  std::size_t merges_ = 0;
};

}  // namespace dsgd
