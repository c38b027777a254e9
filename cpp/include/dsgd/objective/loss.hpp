// Losses of a linear model. One convention everywhere: value(z, y) and derivative(z, y) = d value / d z, where z is the
// decision value w.x + b and y the target (-1 or +1 for classification).
#pragma once

#include <algorithm>    // for max
#include <cmath>        // for exp, log1p
#include <concepts>     // for convertible_to
#include <string>       // for string
#include <string_view>  // for string_view

#include "dsgd/core/error.hpp"
#include "dsgd/core/types.hpp"

namespace dsgd {

struct Hinge {
  static constexpr std::string_view kName = "hinge";
  template <RealType Real>
  [[nodiscard]] static Real value(Real z, Real y) {
    return std::max(Real{0}, Real{1} - y * z);
  }
  /// At the kink (y z = 1) the subgradient 0.
  template <RealType Real>
  [[nodiscard]] static Real derivative(Real z, Real y) {
    return y * z < Real{1} ? -y : Real{0};
  }
};

struct Logistic {
  static constexpr std::string_view kName = "logistic";
  template <RealType Real>
  [[nodiscard]] static Real value(Real z, Real y) {
    const Real margin = y * z;  // the branch keeps exp from overflowing
    return margin > 0 ? std::log1p(std::exp(-margin)) : std::log1p(std::exp(margin)) - margin;
  }
  /// exp may overflow to infinity for a large margin; the quotient is then the right limit, zero.
  template <RealType Real>
  [[nodiscard]] static Real derivative(Real z, Real y) {
    return -y / (Real{1} + std::exp(y * z));
  }
};

struct Squared {
  static constexpr std::string_view kName = "squared";
  template <RealType Real>
  [[nodiscard]] static Real value(Real z, Real y) {
    return (z - y) * (z - y) / 2;
  }
  template <RealType Real>
  [[nodiscard]] static Real derivative(Real z, Real y) {
    return z - y;
  }
};

template <typename T>
concept LossType = requires(double z, double y) {
  { T::kName } -> std::convertible_to<std::string_view>;
  { T::value(z, y) } -> std::convertible_to<double>;
  { T::derivative(z, y) } -> std::convertible_to<double>;
};

/// Calls `f` with the loss of that name: the only place where the list of losses is spelled.
template <typename F>
decltype(auto) visit_loss(std::string_view name, F&& f) {
  if (name == Hinge::kName) return f(Hinge{});
  if (name == Logistic::kName) return f(Logistic{});
  if (name == Squared::kName) return f(Squared{});
  throw Error(ErrorCode::config, "unknown loss '" + std::string(name) + "'");
}

}  // namespace dsgd
