// The norm of one sample's gradient of a linear model.
#pragma once

#include <cmath>    // for sqrt
#include <cstddef>  // for size_t
#include <span>     // for span

#include "dsgd/core/types.hpp"
#include "dsgd/data/squared_norms.hpp"

namespace dsgd {

/// The norm of the gradient r x^T of one sample's loss, with the r of the intercepts if there are any. It is
/// ||r|| sqrt(||x||^2 + 1), so that the gradient itself need not be formed.
template <typename Row, RealType Real>
[[nodiscard]] double gradient_norm(const Row& x, std::span<const Real> residual, bool fit_intercept) {
  const double squares = squared_norm(x) + (fit_intercept ? 1 : 0);
  double length = 0;
  for (const Real each : residual) length += static_cast<double>(each) * static_cast<double>(each);
  return std::sqrt(length) * std::sqrt(squares);
}

}  // namespace dsgd
