// The intercept of dual coordinate ascent. It is the weight of one more, constant feature. It is
// regularised like other weights, but towards a centre instead of 0:
//
//   b = centre + rate / (alpha n) sum_i s_i beta_i,   rate = the square of the constant feature.
//
// The centre is the intercept after the last epoch. This is the proximal point method: at its fixed
// point the regularisation is 0, and so is the sum of all s_i beta_i.
#pragma once

#include <cstddef>  // for size_t
#include <span>     // for span

#include "dsgd/core/types.hpp"
#include "dsgd/objective/linear.hpp"

namespace dsgd {

/// Without an intercept nothing here does anything.
class DualIntercept {
 public:
  explicit DualIntercept(const LinearConfig& config)
      : fitted_(config.fit_intercept), rate_(config.fit_intercept ? config.intercept_rate : 0) {}

  [[nodiscard]] double rate() const { return rate_; }
  [[nodiscard]] double centre() const { return centre_; }

  /// Makes the intercept the centre. The sum of all s_i beta_i must be 0.
  template <RealType Real>
  void centre_at(std::span<const Real> weights) {
    if (fitted_) centre_ = static_cast<double>(weights.back());
  }

  /// Moves the centre to the intercept, and the intercept by the same distance, so that the equation
  /// holds again.
  template <RealType Real>
  void move_centre(std::span<Real> weights) {
    if (!fitted_) return;
    const auto intercept = static_cast<double>(weights.back());
    const double moved = intercept - centre_;
    centre_ = intercept;
    weights.back() = static_cast<Real>(intercept + moved);
  }

  /// Scales the dual variables of one sign down so that sum_i s_i beta_i = 0. They stay feasible for
  /// every loss.
  template <typename Data, RealType Real>
  void balance(const LinearObjective<Data>& objective, std::span<Real> beta) const {
    if (!fitted_) return;
    double positive = 0;
    double negative = 0;
    for (std::size_t i = 0; i < beta.size(); ++i) {
      const double part = static_cast<double>(objective.sample_weight(i)) * static_cast<double>(beta[i]);
      (part > 0 ? positive : negative) += part;
    }
    const auto shrink = static_cast<Real>(positive > -negative ? -negative / positive : positive / -negative);
    if (!(shrink < 1)) return;  // the sums are equal, or there is no sum
    for (Real& each : beta) {
      if ((each > 0) == (positive > -negative)) each *= shrink;
    }
  }

 private:
  bool fitted_;
  double rate_;
  double centre_ = 0;
};

}  // namespace dsgd
