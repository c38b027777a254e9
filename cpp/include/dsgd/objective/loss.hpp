// Losses of a linear model. One convention everywhere: value(z, y) and derivative(z, y) = d value /
// d z, where z is the decision value w.x + b and y the target (-1 or +1 for classification).
#pragma once

#include <algorithm>    // for clamp, max
#include <cmath>        // for abs, exp, log1p
#include <concepts>     // for same_as
#include <cstddef>      // for size_t
#include <limits>       // for numeric_limits
#include <optional>     // for optional
#include <span>         // for span
#include <string>       // for string
#include <string_view>  // for string_view
#include <variant>      // for variant, visit

#include "dsgd/core/error.hpp"
#include "dsgd/core/types.hpp"
#include "dsgd/objective/softmax.hpp"

namespace dsgd {

/// The decision values between two kinks, where the derivative of a loss is 0. Outside it is constant.
template <RealType Real>
struct Flat {
  Real begin;
  Real end;
};

struct Hinge {
  static constexpr std::string_view kName = "hinge";
  template <RealType Real>
  [[nodiscard]] static Real value(Real z, Real y) {
    return std::max(Real{1} - y * z, Real{0});
  }
  /// At the kink (y z = 1) the subgradient 0.
  template <RealType Real>
  [[nodiscard]] static Real derivative(Real z, Real y) {
    return y * z < Real{1} ? -y : Real{0};
  }
  template <RealType Real>
  [[nodiscard]] static Flat<Real> flat(Real y) {
    return beyond(y, Real{1});
  }
  /// The decision values of at least `margin` on the side of y.
  template <RealType Real>
  [[nodiscard]] static Flat<Real> beyond(Real y, Real margin) {
    constexpr Real kInfinity = std::numeric_limits<Real>::infinity();
    return y > 0 ? Flat<Real>{margin, kInfinity} : Flat<Real>{-kInfinity, -margin};
  }
};

struct Perceptron {
  static constexpr std::string_view kName = "perceptron";
  template <RealType Real>
  [[nodiscard]] static Real value(Real z, Real y) {
    return std::max(-y * z, Real{0});
  }
  /// At the kink (z = 0) the subgradient -y: otherwise weights of zero would never change.
  template <RealType Real>
  [[nodiscard]] static Real derivative(Real z, Real y) {
    return y * z <= Real{0} ? -y : Real{0};
  }
  template <RealType Real>
  [[nodiscard]] static Flat<Real> flat(Real y) {
    return Hinge::beyond(y, Real{0});
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

struct SquaredHinge {
  static constexpr std::string_view kName = "squared_hinge";
  template <RealType Real>
  [[nodiscard]] static Real value(Real z, Real y) {
    const Real short_of = std::max(Real{1} - y * z, Real{0});
    return short_of * short_of;
  }
  template <RealType Real>
  [[nodiscard]] static Real derivative(Real z, Real y) {
    return -2 * y * std::max(Real{1} - y * z, Real{0});
  }
};

/// The squared hinge with a linear tail, which makes it robust (Zhang 2004, "Statistical behavior
/// and consistency of classification methods based on convex risk minimization").
struct ModifiedHuber {
  static constexpr std::string_view kName = "modified_huber";
  template <RealType Real>
  [[nodiscard]] static Real value(Real z, Real y) {
    return y * z >= -1 ? SquaredHinge::value(z, y) : -4 * y * z;
  }
  template <RealType Real>
  [[nodiscard]] static Real derivative(Real z, Real y) {
    return y * z >= -1 ? SquaredHinge::derivative(z, y) : -4 * y;
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

struct Huber {
  static constexpr std::string_view kName = "huber";
  double epsilon;

  template <RealType Real>
  [[nodiscard]] Real value(Real z, Real y) const {
    const Real width = static_cast<Real>(epsilon);
    const Real distance = std::abs(z - y);
    return distance <= width ? distance * distance / 2 : width * distance - width * width / 2;
  }
  template <RealType Real>
  [[nodiscard]] Real derivative(Real z, Real y) const {
    return std::clamp(z - y, -static_cast<Real>(epsilon), static_cast<Real>(epsilon));
  }
};

struct EpsilonInsensitive {
  static constexpr std::string_view kName = "epsilon_insensitive";
  double epsilon;

  template <RealType Real>
  [[nodiscard]] Real value(Real z, Real y) const {
    return std::max(std::abs(z - y) - static_cast<Real>(epsilon), Real{0});
  }
  /// At the two kinks the subgradient 0.
  template <RealType Real>
  [[nodiscard]] Real derivative(Real z, Real y) const {
    if (std::abs(z - y) <= static_cast<Real>(epsilon)) return 0;
    return z > y ? Real{1} : Real{-1};
  }
  template <RealType Real>
  [[nodiscard]] Flat<Real> flat(Real y) const {
    return {y - static_cast<Real>(epsilon), y + static_cast<Real>(epsilon)};
  }
};

/// The square of the epsilon-insensitive loss.
struct SquaredEpsilonInsensitive {
  static constexpr std::string_view kName = "squared_epsilon_insensitive";
  double epsilon;

  template <RealType Real>
  [[nodiscard]] Real value(Real z, Real y) const {
    const Real beyond = EpsilonInsensitive{epsilon}.value(z, y);
    return beyond * beyond;
  }
  template <RealType Real>
  [[nodiscard]] Real derivative(Real z, Real y) const {
    const Real beyond = EpsilonInsensitive{epsilon}.value(z, y);
    return z > y ? 2 * beyond : -2 * beyond;
  }
};

/// A loss by its name. `epsilon` is the width of the losses that have one; `n_outputs` is the
/// number of decision values.
/// A loss of one decision value with several outputs is the sum over the classes of the loss of one
/// class against all others.
struct LossConfig {
  std::string name;
  double epsilon;
  std::size_t n_outputs = 1;

  /// Whether the target is the number of a class, and every class has a decision value.
  [[nodiscard]] bool of_classes() const { return name == Softmax::kName || n_outputs > 1; }
};

/// Every loss of one decision value.
using ScalarLoss = std::variant<Hinge, SquaredHinge, Perceptron, Logistic, ModifiedHuber, Squared, Huber,
                                EpsilonInsensitive, SquaredEpsilonInsensitive>;

/// The loss called config.name. Throws Error(config) if ScalarLoss has no loss of this name.
[[nodiscard]] ScalarLoss scalar_loss(const LossConfig& config);

/// Calls `f` with the loss called config.name as a static type. Throws Error(config) unless it is a
/// loss of one decision value.
template <typename F>
decltype(auto) visit_scalar_loss(const LossConfig& config, F&& f) {
  if (config.of_classes()) {
    throw Error(ErrorCode::config, "loss '" + config.name + "' is one of several decision values");
  }
  return std::visit([&](const auto& loss) -> decltype(auto) { return f(loss); }, scalar_loss(config));
}

/// Any loss of one decision value. Every sample branches on the loss, and the branch always goes
/// the same way. Sample loops are compiled for this type. A loss has a sample loop of its own only
/// if this branch makes it slower by more than a few percent (docs/design/compilation.md).
class AnyScalar {
 public:
  explicit AnyScalar(ScalarLoss loss) : loss_(loss) {}

  template <RealType Real>
  [[nodiscard]] Real value(Real z, Real y) const {
    return std::visit([&](const auto& loss) { return loss.value(z, y); }, loss_);
  }
  template <RealType Real>
  [[nodiscard]] Real derivative(Real z, Real y) const {
    return std::visit([&](const auto& loss) { return loss.derivative(z, y); }, loss_);
  }
  /// Of a loss with kinks; empty for a smooth loss.
  template <RealType Real>
  [[nodiscard]] std::optional<Flat<Real>> flat(Real y) const {
    return std::visit(
        [&](const auto& loss) -> std::optional<Flat<Real>> {
          if constexpr (requires { loss.flat(y); }) return loss.flat(y);
          return std::nullopt;
        },
        loss_);
  }

 private:
  ScalarLoss loss_;
};

/// sum_c loss(z_c, +1 where c is the target, else -1): a binary problem for every class, all in one sample.
struct OneVsAll {
  AnyScalar loss;

  /// Returns the loss at the decision values `z`, which become its gradient; 0 unless `with_loss`.
  template <RealType Real>
  [[nodiscard]] Real descend(std::span<Real> z, Real y, bool with_loss) const {
    const auto target = static_cast<std::size_t>(y);
    Real sum = 0;
    for (std::size_t c = 0; c < z.size(); ++c) {
      const Real sign = c == target ? Real{1} : Real{-1};
      if (with_loss) sum += loss.value(z[c], sign);
      z[c] = loss.derivative(z[c], sign);
    }
    return sum;
  }
};

/// A loss of several decision values, chosen at every sample: softmax, or one class against all others.
class ManyOutputs {
 public:
  explicit ManyOutputs(const LossConfig& config) : n_classes(config.n_outputs) {
    if (config.name != Softmax::kName) one_vs_all_.emplace(OneVsAll{AnyScalar(scalar_loss(config))});
  }

  template <RealType Real>
  [[nodiscard]] Real descend(std::span<Real> z, Real y, bool with_loss) const {
    return one_vs_all_ ? one_vs_all_->descend(z, y, with_loss) : Softmax::descend(z, y);
  }

  std::size_t n_classes;

 private:
  std::optional<OneVsAll> one_vs_all_;
};

/// Losses of one decision value have `value` and `derivative`; a loss of several has `descend` and n_classes of them.
template <typename Loss>
concept VectorLoss = std::same_as<Loss, ManyOutputs>;

/// Calls `f` with the loss called config.name as a static type.
template <typename F>
decltype(auto) visit_loss(const LossConfig& config, F&& f) {
  if (config.of_classes()) return f(ManyOutputs(config));
  return std::visit([&](const auto& loss) -> decltype(auto) { return f(loss); }, scalar_loss(config));
}

/// Calls `f` with the loss called config.name, as one of the types for which sample loops are
/// compiled.
template <typename F>
decltype(auto) visit_compiled(const LossConfig& config, F&& f) {
  if (config.of_classes()) return f(ManyOutputs(config));
#ifndef DSGD_FEW_KINDS
  if (config.name == Hinge::kName) return f(Hinge{});
  if (config.name == Logistic::kName) return f(Logistic{});
#endif
  return f(AnyScalar(scalar_loss(config)));
}

/// Like `visit_compiled`, for loops whose steps cost so much that the branch on the loss does not
/// matter.
template <typename F>
decltype(auto) visit_outputs(const LossConfig& config, F&& f) {
  if (config.of_classes()) return f(ManyOutputs(config));
  return f(AnyScalar(scalar_loss(config)));
}

}  // namespace dsgd
