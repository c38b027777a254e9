// The sum of gradients of single samples, each of a bounded norm: what differential privacy adds its noise to (Abadi,
// Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang 2016, "Deep learning with differential privacy", Algorithm 1).
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t
#include <span>     // for span

#include "dsgd/objective/linear.hpp"

namespace dsgd {

/// Adds the sum over `rows` of g_i min(1, clip_norm / ||g_i||) to `gradient`, where g_i is the gradient of
/// s_i loss(w.x_i + b, y_i) in w and b. Returns how many norms were above `clip_norm`, which may be infinite. Throws
/// Error(config) for wrong sizes, for a row that is not there, and unless `clip_norm` is above 0.
template <typename Data>
std::size_t clipped_gradient(const LinearObjective<Data>& objective, std::span<const typename Data::Real> weights,
                             std::span<const std::int64_t> rows, double clip_norm, std::span<double> gradient);

}  // namespace dsgd
