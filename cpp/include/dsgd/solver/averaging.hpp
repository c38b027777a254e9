// Polyak-Ruppert averaging: the mean of the weights after every step, at the cost of one more write for every weight
// that a step changes.
#pragma once

#include <algorithm>  // for max
#include <concepts>   // for same_as
#include <cstddef>    // for size_t
#include <cstdint>    // for int64_t
#include <span>       // for span

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/error.hpp"

namespace dsgd {

/// Where the average is kept. With D_s the change that step s makes,
///
///   sum_{s=1..T} w_s = T w_T - sum_s (s - 1) D_s,
///
/// so `drift` adds up (s - 1) D_s on the weights that change, and the average is w_T - drift / T. Empty: no average.
struct Average {
  std::span<double> drift;
  std::int64_t n_steps = 0;  // in the average before this epoch; below 0: so many of this epoch come before it begins

  /// How many steps are in the average after `done` steps of this epoch.
  [[nodiscard]] double counted(std::size_t done) const {
    return static_cast<double>(std::max<std::int64_t>(0, n_steps + static_cast<std::int64_t>(done)));
  }
  /// Whether the next step is.
  [[nodiscard]] bool counts(std::size_t done) const { return n_steps + static_cast<std::int64_t>(done) >= 0; }

  /// Throws Error(config) unless there is room for every weight.
  void check(std::size_t n_weights) const {
    if (!drift.empty() && drift.size() != n_weights) {
      throw Error(ErrorCode::config, "drift must have one element for every weight");
    }
  }
};

/// s - 1, where `done` is the loop's own count of steps in this epoch.
struct StepsBefore {
  Average average;
  const std::size_t& done;
  [[nodiscard]] double operator()() const { return average.counted(done); }
};

/// The write policy of one thread, or of several on weights of their own, that keeps an average. `past()` is what the
/// drift multiplies a change by. There is none for shared weights: a racy write can lose a change that the drift keeps.
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
