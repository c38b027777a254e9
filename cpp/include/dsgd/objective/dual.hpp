// The dual of the objective of a linear model with L2,
//
//   D(beta) = (1/n) sum_i s_i dual_value(beta_i, y_i) - alpha/2 ||w||^2,
//   w       = 1/(alpha n) sum_i s_i beta_i x_i,
//
// is at most the objective for every beta. Both are equal at the optimum, where beta_i =
// -loss'(z_i, y_i) (Shalev-Shwartz, Zhang 2013, section 1). Every loss here has two functions:
//
//   dual_value(beta, y)      = -loss*(-beta) = min_z loss(z, y) + beta z
//   dual_step(z, beta, q, y) = the beta_i that maximises D if all other dual variables stay. With
//                              w.x_i = z + q (beta' - beta) it is the solution beta' of
//                              beta' = -loss'(z + q (beta' - beta), y)
//
// The perceptron's loss has no such functions: with L2 its optimum is w = 0.
#pragma once

#include <algorithm>    // for clamp, max, min
#include <cmath>        // for abs, copysign, exp, log, log1p
#include <limits>       // for numeric_limits
#include <type_traits>  // for remove_cvref_t

#include "dsgd/core/error.hpp"
#include "dsgd/core/types.hpp"
#include "dsgd/objective/loss.hpp"

namespace dsgd {

template <RealType Real>
[[nodiscard]] Real dual_step(Hinge /*loss*/, Real z, Real beta, Real q, Real y) {
  return y * std::clamp(y * beta + (1 - y * z) / q, Real{0}, Real{1});
}
inline double dual_value(Hinge /*loss*/, double beta, double y) { return y * beta; }

/// The step of both squared hinges. With margin m = y z and b = y beta, the equation on the
/// parabola is 2 (1 - m - q (b' - b)) = b'.
template <RealType Real>
[[nodiscard]] Real dual_step(SquaredHinge /*loss*/, Real z, Real beta, Real q, Real y) {
  return y * std::max(Real{0}, 2 * (1 - y * z + q * y * beta) / (1 + 2 * q));
}
inline double dual_value(SquaredHinge /*loss*/, double beta, double y) { return y * beta - beta * beta / 4; }

template <RealType Real>
[[nodiscard]] Real dual_step(ModifiedHuber /*loss*/, Real z, Real beta, Real q, Real y) {
  return y * std::min(y * dual_step(SquaredHinge{}, z, beta, q, y), Real{4});
}
inline double dual_value(ModifiedHuber /*loss*/, double beta, double y) { return dual_value(SquaredHinge{}, beta, y); }

/// A move of the logistic step that is at most so long is its last one. In single precision the
/// error that the last move leaves is at most its cube by 48; it vanishes near the optimum, where
/// moves are short.
template <RealType Real>
inline constexpr auto kShortMove = static_cast<Real>(std::numeric_limits<Real>::digits < 50 ? 0.25 : 1e-5);

/// Solves m' = m + q (b(m') - b), with b(m') = 1/(1 + e^m'), for the margin m' after the step.
/// Halley's method starts from the margin m before the step; the error after a move is about the
/// cube of the move. The interval [low, high] contains the solution. A move that leaves the
/// interval, or that is more than half as long as the move before, is replaced by a move to the
/// middle of the interval. The last move is short: a Taylor series of b(m') takes it into account,
/// which saves an exponential.
template <RealType Real>
[[nodiscard]] Real dual_step(Logistic /*loss*/, Real z, Real beta, Real q, Real y) {
  constexpr int kMaxMoves = 50;
  Real margin = y * z;
  const Real start = margin - q * y * beta;
  Real low = start;
  Real high = start + q;
  Real last = 2 * q;
  for (int k = 0; k < kMaxMoves; ++k) {
    const Real b = 1 / (1 + std::exp(margin));
    const Real slope = b * (1 - b);         // -b'
    const Real bend = slope * (1 - 2 * b);  // b''
    const Real excess = margin - start - q * b;
    (excess > 0 ? high : low) = margin;
    const Real rise = 1 + q * slope;
    Real move = -excess / std::max(rise + excess * q * bend / (2 * rise), rise / 2);
    if (std::abs(move) <= kShortMove<Real>) {
      return y * std::clamp(b - move * (slope - move * bend / 2), Real{0}, Real{1});
    }
    const bool inside = margin + move > low && margin + move < high;
    if (!inside || 2 * std::abs(move) > last) move = (low + high) / 2 - margin;
    last = std::abs(move);
    margin += move;
  }
  return y / (1 + std::exp(margin));
}
inline double dual_value(Logistic /*loss*/, double beta, double y) {
  const double b = y * beta;
  const double rest = 1 - b;
  return (b > 0 ? -b * std::log(b) : 0.0) + (rest > 0 ? -rest * std::log1p(-b) : 0.0);
}

template <RealType Real>
[[nodiscard]] Real dual_step(Squared /*loss*/, Real z, Real beta, Real q, Real y) {
  return (y - z + q * beta) / (1 + q);
}
inline double dual_value(Squared /*loss*/, double beta, double y) { return beta * (y - beta / 2); }

template <RealType Real>
[[nodiscard]] Real dual_step(Huber loss, Real z, Real beta, Real q, Real y) {
  const auto width = static_cast<Real>(loss.epsilon);
  return std::clamp(dual_step(Squared{}, z, beta, q, y), -width, width);
}
inline double dual_value(Huber /*loss*/, double beta, double y) { return dual_value(Squared{}, beta, y); }

template <RealType Real>
[[nodiscard]] Real dual_step(EpsilonInsensitive loss, Real z, Real beta, Real q, Real y) {
  const Real distance = y - z + q * beta;
  const Real beyond = std::max(Real{0}, std::abs(distance) - static_cast<Real>(loss.epsilon));
  return std::copysign(std::min(beyond / q, Real{1}), distance);
}
inline double dual_value(EpsilonInsensitive loss, double beta, double y) {
  return beta * y - loss.epsilon * std::abs(beta);
}

template <RealType Real>
[[nodiscard]] Real dual_step(SquaredEpsilonInsensitive loss, Real z, Real beta, Real q, Real y) {
  const Real distance = y - z + q * beta;
  const Real beyond = std::max(Real{0}, std::abs(distance) - static_cast<Real>(loss.epsilon));
  return std::copysign(2 * beyond / (1 + 2 * q), distance);
}
inline double dual_value(SquaredEpsilonInsensitive loss, double beta, double y) {
  return beta * y - loss.epsilon * std::abs(beta) - beta * beta / 4;
}

/// Losses that have a dual.
template <typename Loss>
concept DualLoss = requires(Loss loss) { dual_step(loss, 0.0, 0.0, 1.0, 1.0); };

/// Calls `f` with the loss called config.name as a static type. Throws Error(config) unless it has a dual.
template <typename F>
void visit_dual(const LossConfig& config, F&& f) {
  visit_loss(config, [&](const auto& loss) {
    if constexpr (DualLoss<std::remove_cvref_t<decltype(loss)>>) {
      f(loss);
    } else {
      throw Error(ErrorCode::config, "loss '" + config.name + "' has no dual to ascend");
    }
  });
}

/// The part of a sample in the duality gap: F - D = (1/n) sum_i s_i sample_gap(z_i, beta_i, y_i). With
/// an intercept this holds if sum_i s_i beta_i = 0. The part is 0 for beta = -loss'(z, y) and never
/// negative.
template <DualLoss Loss, RealType Real>
[[nodiscard]] double sample_gap(const Loss& loss, Real z, Real beta, Real y) {
  const double value = dual_value(loss, static_cast<double>(beta), static_cast<double>(y));
  return static_cast<double>(loss.value(z, y) + z * beta) - value;
}

}  // namespace dsgd
