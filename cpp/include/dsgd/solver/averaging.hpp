// Polyak-Ruppert averaging: the mean of the weights after every step, at the cost of one more write for every weight
// that a step changes.
#pragma once

#include <algorithm>  // for max
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
  std::int64_t steps = 0;  // in the average before this epoch; below 0: so many of this epoch come before it begins

  /// Throws Error(config) unless there is room for every weight.
  void check(std::size_t n_weights) const {
    if (!drift.empty() && drift.size() != n_weights) {
      throw Error(ErrorCode::config, "drift must have one element for every weight");
    }
  }
};

/// The write policy of one thread, or of several on weights of their own, that keeps an average. `done` is the loop's
/// own count of steps in this epoch. There is none for shared weights: a racy write can lose a change that the drift
/// keeps.
template <RealType Real>
class Averaged : public detail::PlainAccess, public detail::Unguarded, public detail::Unordered {
 public:
  Averaged(std::span<const Real> weights, const Average& average, const std::size_t& done)
      : first_(weights.data()), average_(average), done_(done) {}

  template <typename F>
  void update(Real& x, F&& f) {
    const Real before = x;
    x = f(x);
    const auto past = static_cast<double>(std::max<std::int64_t>(0, average_.steps + static_cast<std::int64_t>(done_)));
    average_.drift[static_cast<std::size_t>(&x - first_)] += past * static_cast<double>(x - before);
  }

 private:
  const Real* first_;
  Average average_;
  const std::size_t& done_;
};

}  // namespace dsgd
