// The scalar form of the step of SVRG (svrg.cpp), for L2 or no penalty. The step
//
//   w <- (w - eta (g x + mu)) / (1 + eta alpha)
//
// changes all weights, since mu is dense. The weights are kept as w = a v + c mu, with the same
// numbers a and c for all features. The step then changes v only on the support of x:
//
//   v <- v - (eta / a) g x,   a <- a / (1 + eta alpha),   c <- (c - eta) / (1 + eta alpha)
//
// After t steps from a = 1 and c = 0 it is a = (1 + eta alpha)^-t and c = (a - 1) / alpha, or c =
// -eta t without a penalty. All threads share a, c and v. Intercepts have no penalty: they are not
// in this form.
#pragma once

#include <atomic>   // for atomic
#include <cmath>    // for exp, expm1, log1p
#include <cstddef>  // for size_t
#include <span>     // for span

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/types.hpp"
#include "dsgd/objective/linear.hpp"
#include "dsgd/objective/linear_kernel.hpp"

namespace dsgd {

/// The numbers a and c, of inner steps of one step size. They follow from the number of steps, which
/// all threads count.
template <RealType Real>
class ScalarForm {
 public:
  struct Multipliers {
    Real a;
    Real c;
  };

  ScalarForm(double step, double alpha) : step_(step), alpha_(alpha), shrinkage_(std::log1p(step * alpha)) {}

  /// a and c before the next step, which is counted.
  [[nodiscard]] Multipliers next() { return after(n_steps_.fetch_add(1, std::memory_order_relaxed)); }

  /// How many of the next `count` steps may be made before `fold`.
  [[nodiscard]] std::size_t before_fold(std::size_t count) const {
    const bool too_many = shrinkage_ * static_cast<double>(count) > kFold;
    return too_many ? static_cast<std::size_t>(kFold / shrinkage_) + 1 : count;
  }

  /// Sets v to w, so that a is 1 and c is 0 again. `v` has no intercepts.
  void fold(std::span<Real> v, std::span<const Real> mu) {
    const auto [a, c] = after(n_steps_);
    for (std::size_t j = 0; j < v.size(); ++j) v[j] = a * v[j] + c * mu[j];
    n_steps_ = 0;
  }

 private:
  /// a may fall to exp(-kFold): with a smaller a, v would lose digits and at last overflow.
  static constexpr double kFold = 4;

  [[nodiscard]] Multipliers after(std::size_t n_steps) const {
    const auto t = static_cast<double>(n_steps);
    if (alpha_ == 0) return {Real{1}, static_cast<Real>(-step_ * t)};
    const double exponent = -t * shrinkage_;
    return {static_cast<Real>(std::exp(exponent)), static_cast<Real>(std::expm1(exponent) / alpha_)};
  }

  double step_;
  double alpha_;
  double shrinkage_;  // log(1 + eta alpha)
  std::atomic<std::size_t> n_steps_{0};
};

/// One thread's access to such weights. It has the two halves of a variance-reduced step, as
/// LinearAccess has them (linear_kernel.hpp).
template <typename Data, typename Loss, typename Policy>
class ScalarAccess {
 public:
  using Real = typename Data::Real;

  /// `weights` is v with the intercepts, and `mu` is the mean gradient.
  ScalarAccess(const LinearKernel<Data, Loss, NoPenalty>& kernel, ScalarForm<Real>& form, std::span<Real> weights,
               std::span<const Real> mu, Policy& policy)
      : X_(kernel.objective.X()),
        rate_(static_cast<Real>(kernel.objective.config().intercept_rate)),
        form_(form),
        v_(kernel.access(weights, policy)),
        mu_(linear_weights(mu, kernel.loss, kernel.objective.config().fit_intercept, reading_)),
        product_(kernel.residual()) {}
  ScalarAccess(const ScalarAccess&) = delete;
  ScalarAccess& operator=(const ScalarAccess&) = delete;

  void evaluate(std::size_t i, std::span<Real> residual, bool with_loss) {
    const auto x = X_.row(i);
    now_ = form_.next();
    v_.weights().products(x, residual);
    mu_.products(x, product_);
    for (std::size_t k = 0; k < residual.size(); ++k) residual[k] = now_.a * residual[k] + now_.c * product_[k];
    v_.weights().add_intercepts(residual);
    v_.finish(i, residual, with_loss);
  }

  /// The step of the sample of the last `evaluate`. Overwrites `residual`.
  void descend_reduced(std::size_t i, std::span<Real> residual, Real step, std::span<const Real> mu) {
    const auto x = X_.row(i);
    const std::span<const Real> of_intercepts = mu.last(residual.size());
    for (std::size_t k = 0; k < residual.size(); ++k) {
      product_[k] = rate_ * step * (residual[k] + of_intercepts[k]);
      residual[k] *= step / now_.a;
    }
    v_.weights().subtract(x, residual);
    v_.weights().subtract_intercepts(product_);
  }

 private:
  Data X_;
  Real rate_;  // step size of the intercept divided by that of the weights
  ScalarForm<Real>& form_;
  typename ScalarForm<Real>::Multipliers now_{};  // of the current sample
  LinearAccess<Data, Loss, NoPenalty, Real, Policy> v_;
  Exclusive reading_;
  LinearWeightsOf<Loss, const Real, Exclusive> mu_;
  LinearResidual<Loss, Real> product_;  // memory
};

}  // namespace dsgd
