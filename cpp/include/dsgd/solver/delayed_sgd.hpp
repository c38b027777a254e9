// Stochastic gradient descent with delayed gradients that are tested before they are used: Algorithms 3 and 4 of
// Cheng, Li, Zhang, "Weighted parallel SGD for distributed unbalanced-workload training system".
#pragma once

#include <cstddef>   // for size_t
#include <cstdint>   // for int64_t, uint8_t
#include <deque>     // for deque
#include <optional>  // for optional
#include <span>      // for span
#include <vector>    // for vector

#include "dsgd/objective/linear.hpp"

namespace dsgd {

struct DelayedSgdConfig {
  std::size_t delay;         // steps between the weights of a gradient and the step along it
  std::size_t most_retries;  // after so many rejected samples in turn a step is made without delay
  bool strict;               // whether a step must also keep the contraction rate 1 - step alpha
  double curvature;          // the greatest second derivative of a smooth loss
};

/// What has become of a sample.
enum class Fate : std::uint8_t {
  accepted,    // its step was made
  fresh,       // its step was made without delay, after too many rejections in turn
  both_sides,  // rejected: the projections of the kept weights lie on both sides of its fixed point
  crossing,    // rejected: its step would cross its fixed point
  turned,      // rejected (strict): across the sample the weights have turned by more than a right angle
  slower,      // rejected (strict): the older weights are nearer to the fixed point
};

/// w_{t+1} = prox(w_t - step loss_i'(w_{t-delay}) x_i) on samples i whose step passes the test; L2 acts on w_t.
///
/// The test of a sample looks at the weights along its row: p_j = u.w_j with u = x_i / ||x_i||, for the kept weights
/// w_j, j = t - delay .. t. A step on this sample alone has a fixed point v on that line; of several, which there may be
/// without L2, v is the nearest to p_t. The test asks that all p_j lie on one side of it, and that the step does not
/// cross it. The intercept is taken as it is in w_t. Older weights are not stored: a step back adds what the step took
/// off, which needs a product of two rows a step.
///
/// For one decision value, and without L1.
template <typename Data>
class DelayedSgd {
 public:
  using Real = typename Data::Real;

  /// Throws Error(config) for a loss of several decision values and for L1.
  DelayedSgd(const LinearObjective<Data>& objective, DelayedSgdConfig config);

  /// Visits `rows` in turn and writes what has become of each to `fates`. `step_sizes` has one element for all rows, or
  /// one for each. The weights lack the scale of L2 until `settle`. Throws Error(config) for wrong sizes and rows.
  void steps(std::span<Real> weights, std::span<const std::int64_t> rows, std::span<const double> step_sizes,
             std::span<std::uint8_t> fates);

  /// Multiplies the weights by their scale, and forgets the earlier weights.
  void settle(std::span<Real> weights);

 private:
  /// A step that was made: w' = (w - change x) / shrink, b' = b - rate change.
  struct Step {
    std::size_t row;
    double change;
    double shrink;
  };
  /// The weights along a sample, kept weights by age: the first is that of w_t.
  struct Line {
    double length;                    // ||x_i||
    double intercept;                 // b_t
    std::vector<double> projections;  // p_j
    double oldest_decision;           // x_i.w_j + b_j of the oldest
    double across;                    // w_t.w_j - p_t p_j of the oldest, if strict
  };
  /// Bounds of the fixed point of a sample.
  struct Range {
    double low;
    double high;
  };

  [[nodiscard]] Line line_of(std::size_t i, std::span<const Real> weights, Real decision, double intercept);
  [[nodiscard]] Range range_of(std::size_t i, const Line& line) const;
  [[nodiscard]] Fate judge(std::size_t i, const Line& line, double change, double shrink) const;
  /// w_t.x of the row with this number.
  [[nodiscard]] double product_with(std::span<const Real> weights, std::size_t row) const;
  [[nodiscard]] double square_of(std::span<const Real> weights) const;

  const LinearObjective<Data>& objective_;
  DelayedSgdConfig config_;
  AnyScalar loss_;
  std::deque<Step> made_;       // the newest first
  std::vector<Real> spread_;    // the row that is looked at, with its zeros; zeros otherwise
  std::size_t rejections_ = 0;  // in turn
  double inverse_scale_ = 1;
  std::optional<double> square_;  // ||w_t||^2, if strict and known
};

}  // namespace dsgd
