// Penalties, as proximal operators. A step applies the operator to the coordinates that it visits.
//
// A step on a sparse sample visits only the features of the sample. Only the fraction p_j of the
// steps visits coordinate j, so each of these steps shrinks it by alpha / p_j, which is alpha per
// step on average. This is the degree split of Hogwild! (Niu, Recht, Re, Wright 2011, section 2),
// here in its implicit form, which is stable for every step size.
//
// L2 is applied less often: only every eighth visit of a sample applies it, and then eight times in
// a row. The average is the same, and a sample without loss writes nothing at its other visits. A
// hash of the row decides which visits apply L2, so that these visits are spread evenly over blocks
// of rows and over threads. L2 is applied more often (every 4th, 2nd or single visit) if a step
// shrinks the weight of the average entry so much that weights would oscillate
// (docs/design/penalties.md). L1 is applied at every visit: otherwise a weight that the loss has
// moved since the last visit would not be 0.
#pragma once

#include <algorithm>  // for max
#include <cmath>      // for abs, copysign
#include <cstddef>    // for size_t
#include <cstdint>    // for uint64_t
#include <span>       // for span

#include "dsgd/core/types.hpp"

namespace dsgd {

/// 1 / p_j of a dense matrix: every step visits every coordinate.
template <RealType Real>
struct EveryStep {
  static constexpr bool kConstant = true;
  [[nodiscard]] static constexpr Real inverse(std::size_t /*j*/) { return Real{1}; }
  [[nodiscard]] static constexpr Real mean() { return Real{1}; }
};

/// 1 / p_j of a sparse matrix.
template <RealType Real>
struct SupportOnly {
  static constexpr bool kConstant = false;
  std::span<const Real> inverse_frequency;
  Real mean_entry = 1;  // mean of 1 / p_j over the entries

  [[nodiscard]] Real mean() const { return mean_entry; }
  [[nodiscard]] Real inverse(std::size_t j) const { return inverse_frequency[j]; }
};

/// The phase of a row in an epoch. The row applies the penalty in those epochs in which its phase
/// is a multiple of the penalty's period. In epoch 0 the phase is the three highest bits of a hash
/// of the row; it grows by 1 from epoch to epoch.
[[nodiscard]] constexpr std::size_t penalty_phase(std::size_t row, std::size_t epoch) {
  return static_cast<std::size_t>((std::uint64_t{row} * 0x9E3779B97F4A7C15U) >> 61U) + epoch;
}

/// L2 with alpha 0, for loops that apply the penalty at every visit.
struct NoPenalty {
  /// The number of visits of a sample from one regularisation to the next, a power of two. 0: the
  /// sample is never regularised.
  template <RealType Real>
  [[nodiscard]] static constexpr std::size_t period(Real /*step*/) {
    return 0;
  }

  /// Calls `f(prox)`, where prox(j)(w) makes `times` proximal steps in a row of a weight w of
  /// feature j.
  template <RealType Real, typename F>
  static void with_prox(Real /*step*/, std::size_t /*times*/, F&& f) {
    f([](std::size_t /*j*/) { return [](Real w) { return w; }; });
  }
};

/// alpha/2 ||w||^2; no penalty at all where alpha is 0.
template <RealType Real, typename Frequency>
struct L2 {
  Real alpha;
  Frequency frequency;

  [[nodiscard]] std::size_t period(Real step) const {
    if (alpha == 0) return 0;
    const Real shrinkage = step * alpha * frequency.mean();
    std::size_t period = 8;
    while (period > 1 && shrinkage * static_cast<Real>(period) > Real{1} / Real{32}) period /= 2;
    return period;
  }

  /// w / (1 + step alpha / p_j)^times; `times` is 1, 2, 4 or 8. A squaring that is not needed
  /// becomes a multiplication by 1: the loop over the entries has no branch, and serves all four
  /// values of `times`.
  template <typename F>
  void with_prox(Real step, std::size_t times, F&& f) const {
    const auto factor = [shrinkage = step * alpha, times, this](std::size_t j) {
      Real divisor = Real{1} + shrinkage * frequency.inverse(j);
      for (std::size_t squarings = 1; squarings < 8; squarings *= 2) divisor *= times > squarings ? divisor : Real{1};
      return Real{1} / divisor;
    };
    if constexpr (Frequency::kConstant) {
      f([same = factor(0)](std::size_t /*j*/) { return [same](Real w) { return w * same; }; });
    } else {
      f([factor](std::size_t j) { return [of_j = factor(j)](Real w) { return w * of_j; }; });
    }
  }
};

/// alpha_l1 ||w||_1 + alpha_l2 / 2 ||w||^2: first the soft threshold, which sets small weights to
/// exactly 0, then the shrinkage.
template <RealType Real, typename Frequency>
struct ElasticNet {
  Real alpha_l1;
  Real alpha_l2;
  Frequency frequency;

  [[nodiscard]] static constexpr std::size_t period(Real /*step*/) { return 1; }

  template <typename F>
  void with_prox(Real step, std::size_t /*times*/, F&& f) const {
    f([this, step](std::size_t j) {
      const Real step_of_j = step * frequency.inverse(j);
      return [threshold = step_of_j * alpha_l1, factor = Real{1} / (Real{1} + step_of_j * alpha_l2)](Real w) {
        return std::copysign(std::max(Real{0}, std::abs(w) - threshold), w) * factor;
      };
    });
  }
};

}  // namespace dsgd
