// The first epoch of dual coordinate ascent. It is that of procedure Modified-SGD (Shalev-Shwartz,
// Zhang 2013): step t is exact for the problem that consists of the first t samples only. It uses
// n/t times w and n/t times the curvature. Without these factors w would be a sum over n samples to
// which most have not yet contributed, and the first samples would get dual variables that are too
// large.
#pragma once

#include <algorithm>  // for max
#include <cstddef>    // for size_t

#include "dsgd/core/types.hpp"
#include "dsgd/objective/dual.hpp"

namespace dsgd {

template <RealType Real>
class DualStart {
 public:
  /// `centre` is the value towards which the intercept is regularised (dual_intercept.hpp).
  DualStart(std::size_t n_samples, std::size_t n_threads, double centre)
      : n_samples_(n_samples), n_threads_(n_threads), centre_(static_cast<Real>(centre)) {}

  /// The `dual_step` of a thread's sample number `visits`, counted from 1.
  template <typename Loss>
  [[nodiscard]] Real step(const Loss& loss, std::size_t visits, Real z, Real beta, Real q, Real y) const {
    const Real share = share_at(visits);
    return dual_step(loss, centre_ + share * (z - centre_), beta, share * q, y);
  }

 private:
  /// n / t, where all threads together are at sample t = visits * n_threads.
  [[nodiscard]] Real share_at(std::size_t visits) const {
    const auto t = static_cast<double>(visits * n_threads_);
    return static_cast<Real>(std::max(1.0, static_cast<double>(n_samples_) / t));
  }

  std::size_t n_samples_;
  std::size_t n_threads_;
  Real centre_;
};

}  // namespace dsgd
