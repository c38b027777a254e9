// The loss of multinomial logistic regression, a function of the decision values of all classes.
#pragma once

#include <algorithm>    // for max
#include <cmath>        // for exp, log
#include <cstddef>      // for size_t
#include <span>         // for span
#include <string_view>  // for string_view

#include "dsgd/core/types.hpp"

namespace dsgd {

/// -log softmax(z)_y = log(sum_c exp(z_c)) - z_y, where the target y is the number of a class.
struct Softmax {
  static constexpr std::string_view kName = "softmax";

  /// Returns the loss at the decision values `z`, and replaces `z` by the gradient of the loss,
  /// softmax(z) - e_y. The largest z is subtracted from all of them first, so that no exponential
  /// overflows and at least one is 1.
  template <RealType Real>
  static Real descend(std::span<Real> z, Real y) {
    const auto target = static_cast<std::size_t>(y);
    Real largest = z[0];
    for (const Real each : z) largest = std::max(largest, each);
    const Real of_target = z[target] - largest;
    Real sum = 0;
    for (Real& each : z) sum += each = std::exp(each - largest);
    const Real share = 1 / sum;
    for (Real& each : z) each *= share;
    z[target] -= 1;
    return std::log(sum) - of_target;
  }
};

}  // namespace dsgd
