// Polyak-Ruppert averaging: the mean of the weights after each step. It costs one more write for
// every weight that a step changes.
#pragma once

#include <algorithm>  // for max
#include <concepts>   // for same_as
#include <cstddef>    // for size_t
#include <cstdint>    // for int64_t
#include <span>       // for span

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/error.hpp"

namespace dsgd {

/// The average is kept as a sum. Let D_s be the change of the weights in step s. From
///
///   sum_{s=1..T} w_s = T w_T - sum_s (s - 1) D_s,
///
/// it follows that the average is w_T - drift / T, where `drift` is the sum of (s - 1) D_s. A step
/// adds to `drift` only where it changes weights. If `drift` is empty there is no average.
struct Average {
  std::span<double> drift;
  /// Steps in the average before this epoch. If it is below 0, the average begins after -n_steps
  /// steps of this epoch.
  std::int64_t n_steps = 0;

  /// The number of steps in the average after `done` steps of this epoch.
  [[nodiscard]] double counted(std::size_t done) const {
    return static_cast<double>(std::max<std::int64_t>(0, n_steps + static_cast<std::int64_t>(done)));
  }
  /// Whether the average includes the step after `done` steps of this epoch.
  [[nodiscard]] bool counts(std::size_t done) const { return n_steps + static_cast<std::int64_t>(done) >= 0; }

  /// Throws Error(config) unless there is room for every weight.
  void check(std::size_t n_weights) const {
    if (!drift.empty() && drift.size() != n_weights) {
      throw Error(ErrorCode::config, "drift must have one element for every weight");
    }
  }
};

/// s - 1, the factor of the change in `drift`. `done` is the count of steps of this epoch, which
/// the loop keeps.
struct StepsBefore {
  Average average;
  const std::size_t& done;
  [[nodiscard]] double operator()() const { return average.counted(done); }
};

/// A write policy that keeps an average. `past()` is the factor by which the drift multiplies a
/// change. It is for one thread, or for several that write different weights: on shared weights a
/// racy write can lose a change that the drift keeps.
template <RealType Real, typename Past = StepsBefore>
class Averaged : public detail::PlainAccess {
 public:
  Averaged(std::span<const Real> weights, const Average& average, Past past)
      : first_(weights.data()), drift_(average.drift), past_(past) {}
  Averaged(std::span<const Real> weights, const Average& average, const std::size_t& done)
    requires std::same_as<Past, StepsBefore>
      : Averaged(weights, average, StepsBefore{average, done}) {}

  template <typename F>
  void update(Real& x, F&& f) {
    const Real before = x;
    x = f(x);
    drift_[static_cast<std::size_t>(&x - first_)] += past_() * static_cast<double>(x - before);
  }

 private:
  const Real* first_;
  std::span<double> drift_;
  Past past_;
};

}  // namespace dsgd
