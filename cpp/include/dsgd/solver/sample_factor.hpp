// The accelerated factor of DisSVRG (section 5.1) by the norm of a sample's own gradient.
#pragma once

#include <algorithm>  // for min
#include <cstddef>    // for size_t
#include <span>       // for span

#include "dsgd/core/types.hpp"
#include "dsgd/objective/gradient_norm.hpp"

namespace dsgd {

/// Lengthens the steps of one thread to step (1 + sigma). Sigma is the norm of the sample's gradient
/// divided by the mean norm of all samples so far, but at most `max_sigma`.
class alignas(64) SampleFactor {  // no two threads' factors share a cache line
 public:
  /// `longest_step` is the bound of a lengthened step. With `max_sigma` 0 the factor is off.
  SampleFactor(double max_sigma, double longest_step, bool fit_intercept)
      : max_sigma_(max_sigma), longest_step_(longest_step), fit_intercept_(fit_intercept) {}

  [[nodiscard]] bool on() const { return max_sigma_ > 0; }

  /// The lengthened `step` of the next sample, of the row `x`.
  template <typename Row, RealType Real>
  [[nodiscard]] Real lengthen(Real step, const Row& x, std::span<const Real> residual) {
    const double norm = gradient_norm(x, residual, fit_intercept_);
    sum_ += norm;
    ++n_samples_;
    const double mean = sum_ / static_cast<double>(n_samples_);
    const double sigma = mean > 0 ? std::min(max_sigma_, norm / mean) : 0;
    return static_cast<Real>(std::min(longest_step_, static_cast<double>(step) * (1 + sigma)));
  }

 private:
  double max_sigma_;
  double longest_step_;
  bool fit_intercept_;
  double sum_ = 0;  // of the norms so far
  std::size_t n_samples_ = 0;
};

}  // namespace dsgd
