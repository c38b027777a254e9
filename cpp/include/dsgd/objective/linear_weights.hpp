// One thread's view of the weights of a linear model of one decision value. Every read and write of
// a stochastic step goes through it, and through a write policy (atomic.hpp). output_weights.hpp is
// the same for several decision values. The functions that both files have take decision values,
// and derivatives by decision values, as spans.
#pragma once

#include <cstddef>      // for size_t
#include <span>         // for span
#include <type_traits>  // for is_same_v, remove_const_t

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/types.hpp"
#include "dsgd/objective/penalty.hpp"

namespace dsgd {

/// `Weight` is const for a reader.
template <typename Weight, typename Policy>
class LinearWeights {
 public:
  using Real = std::remove_const_t<Weight>;
  static_assert(RealType<Real>);

  /// `weights` is the flat parameter vector, the intercept last if there is one.
  LinearWeights(std::span<Weight> weights, bool fit_intercept, Policy& policy)
      : weights_(weights), fit_intercept_(fit_intercept), policy_(policy) {}

  /// w.x
  template <typename Row>
  [[nodiscard]] Real product(const Row& x) const {
    const auto term = [&](std::size_t k) { return Policy::load(weights_[x.index(k)]) * x.value(k); };
    return Row::kContiguous ? vector_sum(x.size(), term) : scalar_sum(x.size(), term);
  }

  /// w.x + b.
  template <typename Row>
  [[nodiscard]] Real decision(const Row& x) const {
    return fit_intercept_ ? product(x) + Policy::load(weights_.back()) : product(x);
  }

  /// Writes w.x + b into z[0].
  template <typename Row>
  void decisions(const Row& x, std::span<Real> z) const {
    z[0] = decision(x);
  }
  template <typename Row>
  void products(const Row& x, std::span<Real> z) const {
    z[0] = product(x);
  }
  void add_intercepts(std::span<Real> z) const {
    if (fit_intercept_) z[0] += Policy::load(weights_.back());
  }

  /// One proximal gradient step on the support of x, where `gradient` is the loss's derivative at
  /// w.x + b:
  ///   w_j <- prox_j(w_j - step * gradient * x_j),   b <- b - intercept_rate * step * gradient,
  /// with the prox only if the penalty is due in this `phase` of the row (penalty_phase,
  /// penalty.hpp).
  template <typename Row, typename Penalty>
  void descend(const Row& x, std::span<const Real> gradient, Real step, Real intercept_rate, const Penalty& penalty,
               std::size_t phase) const {
    const Real scale = step * gradient[0];
    const std::size_t period = penalty.period(step);
    if (period != 0 && (phase & (period - 1)) == 0) {
      penalty.with_prox(step, period, [&](const auto& prox) {
        update(x, [&](Real w, Real value, std::size_t j) { return prox(j)(w - scale * value); });
      });
    } else if (scale != 0) {
      update(x, [&](Real w, Real value, std::size_t /*j*/) { return w - scale * value; });
    }
    if (scale != 0) update_intercept([&](Real b) { return b - intercept_rate * scale; });
  }

  /// Like `descend`, with the prox at every visit. `pull` is a part of the gradient that does not
  /// come from this sample:
  ///   w_j <- prox_j(w_j - step * (gradient * x_j + pull_j)),
  ///   b   <- b - intercept_rate * step * (gradient + pull_b).
  template <typename Row, typename Penalty>
  void descend_reduced(const Row& x, std::span<const Real> gradient, Real step, Real intercept_rate,
                       const Penalty& penalty, std::span<const Real> pull) const {
    const Real g = gradient[0];
    penalty.with_prox(step, 1, [&](const auto& prox) {
      update(x, [&](Real w, Real value, std::size_t j) { return prox(j)(w - step * (g * value + pull[j])); });
    });
    update_intercept([&](Real b) { return b - intercept_rate * step * (g + pull.back()); });
  }

  /// w_j <- w_j - scale x_j on the support of x.
  template <typename Row>
  void subtract(const Row& x, std::span<const Real> scale) const {
    const Real factor = scale[0];
    update(x, [&](Real w, Real value, std::size_t /*j*/) { return w - factor * value; });
  }

  /// b <- b - change, if there is an intercept.
  void subtract_intercepts(std::span<const Real> change) const {
    update_intercept([&](Real b) { return b - change[0]; });
  }

  /// w_j becomes f(w_j, x_j, j) for every feature j of x.
  template <typename Row, typename F>
  void update(const Row& x, F&& f) const {
    const auto one = [&](std::size_t k) {
      const std::size_t j = x.index(k);
      policy_.update(weights_[j], [&](Real w) { return f(w, x.value(k), j); });
    };
    const std::size_t size = x.size();
    if constexpr (Row::kContiguous && std::is_same_v<Policy, Exclusive>) {
#pragma omp simd
      for (std::size_t k = 0; k < size; ++k) one(k);
    } else {
      for (std::size_t k = 0; k < size; ++k) one(k);
    }
  }

  /// b becomes f(b), if there is an intercept.
  template <typename F>
  void update_intercept(F&& f) const {
    if (fit_intercept_) policy_.update(weights_.back(), f);
  }

 private:
  /// Four partial sums, so that an addition need not wait for the one before it. Each has a
  /// variable of its own: GCC keeps an array of four sums in memory.
  template <typename Product>
  [[nodiscard]] static Real scalar_sum(std::size_t size, const Product& product) {
    Real a = 0;
    Real b = 0;
    Real c = 0;
    Real d = 0;
    std::size_t k = 0;
    for (; k + 4 <= size; k += 4) {
      a += product(k);
      b += product(k + 1);
      c += product(k + 2);
      d += product(k + 3);
    }
    for (; k < size; ++k) a += product(k);
    return (a + b) + (c + d);
  }

  /// Sixteen partial sums, which fill vector registers, for rows that are long enough. The entries
  /// after the last multiple of sixteen are summed apart, and every halving has an array of its
  /// own. Otherwise GCC keeps the sums in memory, and a load of several sums waits for the stores
  /// of each.
  template <typename Product>
  [[nodiscard]] static Real vector_sum(std::size_t size, const Product& product) {
    constexpr std::size_t kLanes = 16;
    const std::size_t whole = size / kLanes * kLanes;
    const Real rest = scalar_sum(size - whole, [&](std::size_t k) { return product(whole + k); });
    if (whole == 0) return rest;
    Real sum[kLanes] = {};
    for (std::size_t k = 0; k < whole; k += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) sum[lane] += product(k + lane);
    }
    Real half[kLanes / 2];
    for (std::size_t lane = 0; lane < kLanes / 2; ++lane) half[lane] = sum[lane] + sum[lane + kLanes / 2];
    Real quarter[kLanes / 4];
    for (std::size_t lane = 0; lane < kLanes / 4; ++lane) quarter[lane] = half[lane] + half[lane + kLanes / 4];
    return ((quarter[0] + quarter[2]) + (quarter[1] + quarter[3])) + rest;
  }

  std::span<Weight> weights_;
  bool fit_intercept_;
  Policy& policy_;
};

}  // namespace dsgd
