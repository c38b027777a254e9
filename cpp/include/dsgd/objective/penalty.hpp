// Penalties, as the proximal operator of one coordinate on one visit.
//
// A sparse step touches the support of its sample only, so coordinate j is regularised on the fraction p_j of the steps
// that visit it and must be shrunk by alpha / p_j each time to be shrunk by alpha on average: the degree split of
// Hogwild! (Niu, Recht, Re, Wright 2011, section 2), here in the implicit form, which is stable for every step size.
//
// L2 is thinned out as well: a sample brings it on every fourth visit only, four times as strong, which is the same on
// average and leaves nothing to write for the other visits of a sample that has no loss. Not where a step shrinks the
// average entry's weight by much: weights would swing (docs/design.md). And not L1: a weight that the loss moved since
// its last visit would not be zero.
#pragma once

#include <algorithm>  // for max
#include <cmath>      // for abs, copysign
#include <cstddef>    // for size_t
#include <span>       // for span

#include "dsgd/core/types.hpp"

namespace dsgd {

/// 1 / p_j of a dense matrix: every step visits every coordinate.
template <RealType Real>
struct EveryStep {
  [[nodiscard]] static constexpr Real inverse(std::size_t /*j*/) { return Real{1}; }
  [[nodiscard]] static constexpr Real mean() { return Real{1}; }
};

/// 1 / p_j of a sparse matrix.
template <RealType Real>
struct SupportOnly {
  std::span<const Real> inverse_frequency;
  Real mean_entry;  // mean of 1 / p_j over the entries of the matrix

  [[nodiscard]] Real mean() const { return mean_entry; }
  [[nodiscard]] Real inverse(std::size_t j) const { return inverse_frequency[j]; }
};

struct NoPenalty {
  /// Visits of a sample from one regularisation to the next; 0: none ever.
  template <RealType Real>
  [[nodiscard]] static constexpr std::size_t period(Real /*step*/) {
    return 0;
  }

  template <RealType Real>
  [[nodiscard]] static Real prox(Real w, Real /*step*/, std::size_t /*j*/) {
    return w;
  }
};

/// alpha/2 ||w||^2
template <RealType Real, typename Frequency>
struct L2 {
  Real alpha;
  Frequency frequency;

  [[nodiscard]] std::size_t period(Real step) const {
    return step * alpha * frequency.mean() <= Real{1} / Real{64} ? 4 : 1;
  }

  [[nodiscard]] Real prox(Real w, Real step, std::size_t j) const {
    return w * (Real{1} / (Real{1} + step * alpha * frequency.inverse(j)));
  }
};

/// alpha_l1 ||w||_1 + alpha_l2 / 2 ||w||^2: the soft threshold, which sets small weights to exactly zero, then the
/// shrinkage.
template <RealType Real, typename Frequency>
struct ElasticNet {
  Real alpha_l1;
  Real alpha_l2;
  Frequency frequency;

  [[nodiscard]] static constexpr std::size_t period(Real /*step*/) { return 1; }

  [[nodiscard]] Real prox(Real w, Real step, std::size_t j) const {
    const Real visit = step * frequency.inverse(j);
    const Real left = std::max(Real{0}, std::abs(w) - visit * alpha_l1);
    return std::copysign(left, w) * (Real{1} / (Real{1} + visit * alpha_l2));
  }
};

}  // namespace dsgd
