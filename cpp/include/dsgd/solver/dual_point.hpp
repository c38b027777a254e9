// A lower bound of the optimum of a linear model, for any algorithm. Every point beta of the dual
// problem proves one:
//
//   F* >= D(beta) = (1/n) sum_i s_i dual_value(beta_i, y_i) - R*(u),   u = (1/n) sum_i s_i beta_i x_i,
//
// where sum_i s_i beta_i must be 0 with an intercept, and R* is the conjugate of the penalty
// alpha_l1 ||w||_1 + alpha_l2/2 ||w||^2:
//
//   R*(u) = sum_j max(|u_j| - alpha_l1, 0)^2 / (2 alpha_l2),
//
// or without L2: 0 if every |u_j| is at most alpha_l1, else infinity.
#pragma once

#include <cstddef>  // for size_t
#include <span>     // for span
#include <vector>   // for vector

#include "dsgd/objective/linear.hpp"

namespace dsgd {

/// The best dual point that was found so far, in double precision whatever the type of the data.
template <typename Data>
class DualPoint {
 public:
  using Real = typename Data::Real;

  /// Begins at beta = 0, which proves F* >= 0. The objective must outlive the point. Throws
  /// Error(config) for a loss without a dual, and without a penalty.
  DualPoint(const LinearObjective<Data>& objective, std::size_t n_threads);

  /// Returns the mean loss at `weights`, without the penalty. Moves the point towards beta_i =
  /// -loss'(z_i, y_i), which is optimal if the weights are. All z_i are first shifted by the same
  /// number, so that sum_i s_i beta_i is 0, if there is an intercept.
  double look(std::span<const Real> weights);

  /// Moves the point towards given dual variables.
  void look_at(std::span<const Real> duals);

  /// D(beta).
  [[nodiscard]] double value() const { return value_; }
  [[nodiscard]] std::span<const double> duals() const { return beta_; }

 private:
  template <typename F>
  [[nodiscard]] double mean(const F& f) const;
  template <typename Loss>
  [[nodiscard]] double balancing_shift(const Loss& loss) const;
  [[nodiscard]] double value_at(double t, double scale) const;
  void approach(double enough);
  void move(double scale, double enough);

  const LinearObjective<Data>& objective_;
  std::size_t n_threads_;
  double value_ = 0;
  std::vector<double> beta_;
  std::vector<double> sum_;        // u of beta_
  std::vector<double> other_;      // decision values, then the dual variables to move towards
  std::vector<double> other_sum_;  // u of these
};

}  // namespace dsgd
