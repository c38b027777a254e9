// The kernel of a linear model (objective.hpp): its loss and penalty as static types. It gives a
// stochastic solver access to the weights of one decision value or of several.
#pragma once

#include <array>        // for array
#include <cstddef>      // for size_t
#include <span>         // for span
#include <type_traits>  // for conditional_t, remove_const_t
#include <utility>      // for declval
#include <vector>       // for vector

#include "dsgd/core/types.hpp"
#include "dsgd/objective/linear_weights.hpp"
#include "dsgd/objective/loss.hpp"
#include "dsgd/objective/objective.hpp"
#include "dsgd/objective/output_weights.hpp"

namespace dsgd {

template <typename Data>
class LinearObjective;

/// Replaces the decision values `z` by the derivatives of the loss by them. Returns the loss if
/// `with_loss` is true.
template <typename Loss, RealType Real>
Real differentiate(const Loss& loss, std::span<Real> z, Real y, bool with_loss) {
  if constexpr (VectorLoss<Loss>) {
    return loss.descend(z, y, with_loss);
  } else {
    const Real value = with_loss ? loss.value(z[0], y) : Real{0};
    z[0] = loss.derivative(z[0], y);
    return value;
  }
}

/// The weights of a linear model with the loss `loss`.
template <typename Loss, typename Weight, typename Policy>
[[nodiscard]] auto linear_weights(std::span<Weight> weights, const Loss& loss, bool fit_intercept, Policy& policy) {
  if constexpr (VectorLoss<Loss>) {
    return OutputWeights<Weight, Policy>(weights, loss.n_classes, fit_intercept, policy);
  } else {
    return LinearWeights<Weight, Policy>(weights, fit_intercept, policy);
  }
}

template <typename Loss, typename Weight, typename Policy>
using LinearWeightsOf = decltype(linear_weights(std::declval<std::span<Weight>>(), std::declval<const Loss&>(), true,
                                                std::declval<Policy&>()));

/// The residual of a sample: s_i times the derivatives of the loss by the decision values.
template <typename Loss, RealType Real>
using LinearResidual = std::conditional_t<VectorLoss<Loss>, std::vector<Real>, std::array<Real, 1>>;

/// One thread's access to the weights. `Weight` is const for a reader, which cannot descend.
/// Members are copies, so that the sample loop does not read them through the objective.
template <typename Data, typename Loss, typename Penalty, typename Weight, typename Policy>
class LinearAccess {
 public:
  using Real = typename Data::Real;

  LinearAccess(const LinearObjective<Data>& objective, const Loss& loss, const Penalty& penalty,
               std::span<Weight> weights, Policy& policy)
      : X_(objective.X()),
        y_(objective.y()),
        sample_weight_(objective.sample_weight()),
        loss_(loss),
        penalty_(penalty),
        rate_(static_cast<Real>(objective.config().intercept_rate)),
        fit_intercept_(objective.config().fit_intercept),
        weights_(weights),
        policy_(policy),
        whole_(linear_weights(weights, loss, fit_intercept_, policy)) {}

  // NOLINTNEXTLINE(modernize-use-nodiscard): most callers need only the residual
  Real evaluate(std::size_t i, std::span<Real> residual, bool with_loss) const {
    whole_.decisions(X_.row(i), residual);
    return finish(i, residual, with_loss);
  }

  /// The second half of `evaluate`. `residual` holds the decision values, and becomes the residual.
  // NOLINTNEXTLINE(modernize-use-nodiscard)
  Real finish(std::size_t i, std::span<Real> residual, bool with_loss) const {
    const Real loss = differentiate(loss_, residual, y_[i], with_loss);
    if (!sample_weight_.empty()) {
      for (Real& each : residual) each *= sample_weight_[i];
    }
    return loss;
  }

  void descend(std::size_t i, std::span<const Real> residual, Real step, std::size_t phase) const {
    whole_.descend(X_.row(i), residual, step, rate_, penalty_, phase);
  }

  void descend(std::size_t i, std::span<const Real> residual, Real step, std::size_t phase, Features part) const {
    const auto w = linear_weights(weights_, loss_, fit_intercept_ && part.begin == 0, policy_);
    w.descend(X_.row(i).between(part.begin, part.end), residual, step, rate_, penalty_, phase);
  }

  /// One variance-reduced step, with the prox at every visit. `pull` is the part of the gradient
  /// that is the same for all samples.
  void descend_reduced(std::size_t i, std::span<const Real> residual, Real step, std::span<const Real> pull) const {
    whole_.descend_reduced(X_.row(i), residual, step, rate_, penalty_, pull);
  }

  [[nodiscard]] const auto& weights() const { return whole_; }

 private:
  Data X_;
  std::span<const Real> y_;
  std::span<const Real> sample_weight_;
  Loss loss_;
  Penalty penalty_;
  Real rate_;
  bool fit_intercept_;
  std::span<Weight> weights_;
  Policy& policy_;
  LinearWeightsOf<Loss, Weight, Policy> whole_;
};

template <typename DataT, typename LossT, typename PenaltyT>
struct LinearKernel {
  using Data = DataT;
  using Real = typename Data::Real;

  const LinearObjective<Data>& objective;
  LossT loss;
  PenaltyT penalty;

  [[nodiscard]] LinearResidual<LossT, Real> residual() const {
    LinearResidual<LossT, Real> empty{};
    if constexpr (VectorLoss<LossT>) empty.resize(loss.n_classes);
    return empty;
  }

  /// `weights` may be const, for a reader.
  template <typename Weight, typename Policy>
  [[nodiscard]] auto access(std::span<Weight> weights, Policy& policy) const {
    return LinearAccess<Data, LossT, PenaltyT, Weight, Policy>(objective, loss, penalty, weights, policy);
  }
};

}  // namespace dsgd
