// Kernels of a worker of a distributed algorithm: gradients and steps over rows that its program names, so that what a
// worker does in one round does not depend on how the round is cut into pieces.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t
#include <span>     // for span

#include "dsgd/objective/linear.hpp"

namespace dsgd {

/// Adds the sum over `rows` of s_i loss'(w.x_i + b, y_i) x_i to `gradient`, and to `due` the share of the penalty that
/// falls on each weight, 1 / p_j for every row that holds feature j (penalty.hpp). The intercept is not regularised.
/// `due` may be empty. Returns the entries read. Throws Error(config) for wrong sizes and for a row that is not there.
template <typename Data>
std::size_t rows_gradient(const LinearObjective<Data>& objective, std::span<const typename Data::Real> weights,
                          std::span<const std::int64_t> rows, std::span<double> gradient, std::span<double> due);

/// Steps of stochastic gradient descent of one size, one a row, the penalty on every one; reduced in variance where
/// there is an anchor. With r_i(w) = s_i loss'(w.x_i + b, y_i),
///
///   w_j <- prox_j( w_j - step ((r_i(w) - r_i(anchor)) x_ij + pull_j) )   for the features j of row i,
///   b <- b - intercept_rate step (r_i(w) - r_i(anchor) + pull_b)
///
/// where pull_j = mu_j / p_j, which brings the dense mean gradient mu on the support only. `anchor` and `pull` are both
/// empty or both of the size of the weights. Returns the entries read.
template <typename Data>
std::size_t rows_descend(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights,
                         std::span<const typename Data::Real> anchor, std::span<const typename Data::Real> pull,
                         std::span<const std::int64_t> rows, double step);

}  // namespace dsgd
