// The weights of a linear model with L2, kept as w = scale v, for one thread or for a replica. The
// proximal step
//
//   w <- (w - step g x) / (1 + step alpha)
//
// on all weights divides the scale by 1 + step alpha, and changes v only on the support of x. The
// result is exactly that of the step, also for sparse data ("Pegasos", Shalev-Shwartz, Singer,
// Srebro 2007, section 2.3; Bottou 2010). Threads that write shared weights have no common scale: they
// use the degree split (penalty.hpp).
#pragma once

#include <cstddef>      // for size_t
#include <span>         // for span
#include <type_traits>  // for conditional_t
#include <utility>      // for declval, forward

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/types.hpp"
#include "dsgd/objective/linear_kernel.hpp"
#include "dsgd/objective/linear_weights.hpp"
#include "dsgd/objective/loss.hpp"
#include "dsgd/objective/penalty.hpp"
#include "dsgd/solver/averaging.hpp"
#include "dsgd/solver/replica.hpp"

namespace dsgd {

/// Whether L2 can be kept in a scale of the weights.
template <typename Kernel>
constexpr bool kScales = false;
template <typename Data, typename Loss, typename Real, typename Frequency>
constexpr bool kScales<LinearKernel<Data, Loss, L2<Real, Frequency>>> = !VectorLoss<Loss>;

/// Multiplies weights v, without the intercept, by a scale that was carried as 1 / scale; the scale is then 1.
template <RealType Real>
void fold_scale(std::span<Real> weights, bool fit_intercept, double& inverse) {
  const auto scale = static_cast<Real>(1 / inverse);
  for (Real& w : weights.first(weights.size() - (fit_intercept ? 1 : 0))) w *= scale;
  inverse = 1;
}

/// With `averages` it also keeps the average of w, in `average.drift`. The sum of the weights
/// scale_s v_s over the steps s is
///
///   A_T v_T - sum_s A_{s-1} (v_s - v_{s-1}),   A_s = scale_1 + ... + scale_s.
template <RealType Real, bool averages>
class ScaledWeights {
 public:
  /// `done` is the count of steps of this epoch, which the sample loop keeps. With `carried`, 1 / scale outlives this
  /// object: it is *carried at first, and *carried at the end. `weights` are then v between two such objects.
  ScaledWeights(std::span<Real> weights, bool fit_intercept, double alpha, const Average& average,
                const std::size_t& done, double* carried = nullptr)
      : weights_(weights),
        n_features_(weights.size() - (fit_intercept ? 1 : 0)),
        alpha_(alpha),
        average_(average),
        done_(done),
        carried_(carried),
        scale_(carried == nullptr ? 1 : 1 / *carried),
        inverse_(carried == nullptr ? 1 : *carried),
        sum_(average.counted(0)),
        policy_(make_policy()),
        intercept_policy_(make_intercept_policy()),
        v_(weights.first(n_features_), false, policy_),
        b_(weights, fit_intercept, intercept_policy_) {}
  ScaledWeights(const ScaledWeights&) = delete;
  ScaledWeights& operator=(const ScaledWeights&) = delete;
  ~ScaledWeights() {
    if (carried_ == nullptr) {
      fold(done_);
    } else {
      *carried_ = inverse_;
    }
  }

  /// 1 / scale.
  [[nodiscard]] double inverse() const { return inverse_; }

  /// w.x + b.
  template <typename Row>
  [[nodiscard]] Real decision(const Row& x) const {
    const Real product = static_cast<Real>(scale_) * v_.product(x);
    return weights_.size() > n_features_ ? product + weights_.back() : product;
  }

  /// One proximal gradient step, as in LinearWeights, but with the L2 of every step on all weights.
  /// Returns whether v or the intercept has changed.
  template <typename Row>
  bool descend(const Row& x, Real gradient, Real step, Real intercept_rate) {
    const Real change = step * gradient;
    if (change != 0) {
      const auto scaled = static_cast<Real>(change * inverse_);
      v_.update(x, [&](Real v, Real value, std::size_t /*j*/) { return v - scaled * value; });
      b_.update_intercept([&](Real b) { return b - intercept_rate * change; });
    }
    inverse_ *= 1 + static_cast<double>(step) * alpha_;
    scale_ = 1 / inverse_;
    if constexpr (averages) sum_ += average_.counts(done_) ? scale_ : 0;
    if (inverse_ > kMost) fold(done_ + 1);
    return change != 0;
  }

 private:
  /// The limit of 1 / scale, above which v takes over the scale (`fold`). Far above it v would
  /// overflow. An average is a difference of two sums, which loses digits much earlier.
  static constexpr double kMost = averages ? 64 : sizeof(Real) == sizeof(float) ? 1e15 : 1e100;

  [[nodiscard]] auto make_policy() {
    if constexpr (averages) {
      return Averaged<Real, Sum>(weights_, average_, Sum{sum_});
    } else {
      return Exclusive{};
    }
  }
  [[nodiscard]] auto make_intercept_policy() {
    if constexpr (averages) {
      return Averaged<Real>(weights_, average_, done_);
    } else {
      return Exclusive{};
    }
  }

  struct Sum {
    const double& value;
    [[nodiscard]] double operator()() const { return value; }
  };

  /// Sets v to w and the scale to 1. The drift D becomes D', the drift of steps without a scale,
  /// from A v - D = T w - D'.
  void fold(std::size_t done) {
    const double inverse = inverse_;
    fold_scale(weights_, weights_.size() > n_features_, inverse_);
    if constexpr (averages) {
      const double more = average_.counted(done) - sum_ * inverse;
      for (std::size_t j = 0; j < n_features_; ++j) average_.drift[j] += more * static_cast<double>(weights_[j]);
      sum_ = average_.counted(done);
    }
    scale_ = 1;
  }

  using Policy = std::conditional_t<averages, Averaged<Real, Sum>, Exclusive>;
  using InterceptPolicy = std::conditional_t<averages, Averaged<Real>, Exclusive>;

  std::span<Real> weights_;
  std::size_t n_features_;
  double alpha_;
  Average average_;
  const std::size_t& done_;
  double* carried_;
  double scale_;
  /// 1 / scale, the number that steps change: a product from step to step is faster than a
  /// division.
  double inverse_;
  double sum_;  // A, the sum of the scales
  Policy policy_;
  InterceptPolicy intercept_policy_;
  LinearWeights<Real, Policy> v_;
  LinearWeights<Real, InterceptPolicy> b_;
};

/// The weights of a replica (replica.hpp), whose scale the replica keeps and merges.
template <RealType Real>
class ReplicaWeights {
 public:
  ReplicaWeights(std::span<Real> weights, bool fit_intercept, double alpha, Replica<Real>& replica)
      : replica_(replica), fit_intercept_(fit_intercept), alpha_(alpha), v_(weights, fit_intercept, policy_) {}
  ReplicaWeights(const ReplicaWeights&) = delete;
  ReplicaWeights& operator=(const ReplicaWeights&) = delete;

  template <typename Row>
  [[nodiscard]] Real decision(const Row& x) const {
    const Real product = static_cast<Real>(replica_.scale()) * v_.product(x);
    return fit_intercept_ ? product + replica_.weights().back() : product;
  }

  /// As in ScaledWeights.
  template <typename Row>
  bool descend(const Row& x, Real gradient, Real step, Real intercept_rate) {
    const Real change = step * gradient;
    if (change != 0) {
      const auto scaled = static_cast<Real>(change * replica_.inverse());
      v_.update(x, [&](Real v, Real value, std::size_t /*j*/) { return v - scaled * value; });
      v_.update_intercept([&](Real b) { return b - intercept_rate * change; });
    }
    replica_.shrink(1 + static_cast<double>(step) * alpha_);
    return change != 0;
  }

 private:
  Replica<Real>& replica_;
  bool fit_intercept_;
  double alpha_;
  Exclusive policy_;
  LinearWeights<Real, Exclusive> v_;
};

/// The access of a linear kernel (linear_kernel.hpp) of one decision value to such weights.
template <typename Kernel, typename Weights>
class ScaledAccessTo {
 public:
  using Real = typename Kernel::Real;

  /// `more` are the arguments of Weights after its weights, intercept and alpha.
  template <typename... More>
  ScaledAccessTo(const Kernel& kernel, std::span<Real> weights, More&&... more)
      : X_(kernel.objective.X()),
        rate_(static_cast<Real>(kernel.objective.config().intercept_rate)),
        unscaled_(kernel.access(weights, policy_)),
        w_(weights, kernel.objective.config().fit_intercept, kernel.objective.config().alpha_l2,
           std::forward<More>(more)...) {}

  // NOLINTNEXTLINE(modernize-use-nodiscard): as in LinearAccess
  Real evaluate(std::size_t i, std::span<Real> residual, bool with_loss) const {
    residual[0] = w_.decision(X_.row(i));
    return unscaled_.finish(i, residual, with_loss);
  }

  /// Every step applies L2, whatever the phase of the row. Returns whether weights have changed
  /// otherwise.
  bool descend(std::size_t i, std::span<const Real> residual, Real step, std::size_t /*phase*/) {
    return w_.descend(X_.row(i), residual[0], step, rate_);
  }

 private:
  using Unscaled = decltype(std::declval<const Kernel&>().access(std::span<Real>(), std::declval<Exclusive&>()));

  typename Kernel::Data X_;
  Real rate_;
  Exclusive policy_;
  Unscaled unscaled_;  // gives the loss and its derivative
  Weights w_;
};

template <typename Kernel, bool averages>
using ScaledAccess = ScaledAccessTo<Kernel, ScaledWeights<typename Kernel::Real, averages>>;
template <typename Kernel>
using ReplicaAccess = ScaledAccessTo<Kernel, ReplicaWeights<typename Kernel::Real>>;

}  // namespace dsgd
