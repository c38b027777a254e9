// One thread's view of the weights of a linear model of several decision values, for instance one
// per class. linear_weights.hpp is the same for one decision value. The n_outputs weights of a
// feature are neighbours in memory, and the intercepts come last. The step of a sample therefore
// touches one stretch of memory per feature.
#pragma once

#include <cstddef>      // for size_t
#include <span>         // for span
#include <type_traits>  // for is_same_v, remove_const_t

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/types.hpp"
#include "dsgd/objective/penalty.hpp"

namespace dsgd {

/// `Weight` is const for a reader. Spans of decision values, and of derivatives by decision values,
/// have n_outputs elements.
template <typename Weight, typename Policy>
class OutputWeights {
 public:
  using Real = std::remove_const_t<Weight>;
  static_assert(RealType<Real>);

  OutputWeights(std::span<Weight> weights, std::size_t n_outputs, bool fit_intercept, Policy& policy)
      : weights_(weights), m_(n_outputs), fit_intercept_(fit_intercept), policy_(policy) {}

  /// z_c <- w_c.x, four features at a time: the chain of additions that wait for one another is a
  /// quarter as long.
  template <typename Row>
  void products(const Row& x, std::span<Real> z) const {
    Real* const to = z.data();
    const std::size_t m = m_;
    for (std::size_t c = 0; c < m; ++c) to[c] = 0;
    std::size_t k = 0;
    for (; k + 4 <= x.size(); k += 4) {
      const Real value[4] = {x.value(k), x.value(k + 1), x.value(k + 2), x.value(k + 3)};
      if (Row::kContiguous && value[0] == 0 && value[1] == 0 && value[2] == 0 && value[3] == 0) continue;
      const Weight* const w[4] = {of(x.index(k)), of(x.index(k + 1)), of(x.index(k + 2)), of(x.index(k + 3))};
      over_outputs([&](std::size_t c) {
        to[c] += (Policy::load(w[0][c]) * value[0] + Policy::load(w[1][c]) * value[1]) +
                 (Policy::load(w[2][c]) * value[2] + Policy::load(w[3][c]) * value[3]);
      });
    }
    for (; k < x.size(); ++k) {
      const Real value = x.value(k);
      const Weight* const w = of(x.index(k));
      over_outputs([&](std::size_t c) { to[c] += Policy::load(w[c]) * value; });
    }
  }

  /// z_c <- w_c.x + b_c
  template <typename Row>
  void decisions(const Row& x, std::span<Real> z) const {
    products(x, z);
    add_intercepts(z);
  }
  void add_intercepts(std::span<Real> z) const {
    if (!fit_intercept_) return;
    for (std::size_t c = 0; c < m_; ++c) z[c] += Policy::load(intercepts()[c]);
  }

  /// One proximal gradient step, as in LinearWeights.
  template <typename Row, typename Penalty>
  void descend(const Row& x, std::span<const Real> gradient, Real step, Real intercept_rate, const Penalty& penalty,
               std::size_t phase) const {
    const std::size_t period = penalty.period(step);
    if (period != 0 && (phase & (period - 1)) == 0) {
      penalty.with_prox(step, period, [&](const auto& prox) {
        for (std::size_t k = 0; k < x.size(); ++k) {
          const std::size_t j = x.index(k);
          const auto shrink = prox(j);
          const Real scale = step * x.value(k);
          update(of(j), [&](Real w, std::size_t c) { return shrink(w - gradient[c] * scale); });
        }
      });
    } else {
      for (std::size_t k = 0; k < x.size(); ++k) {
        const Real scale = step * x.value(k);
        if (Row::kContiguous && scale == 0) continue;
        update(of(x.index(k)), [&](Real w, std::size_t c) { return w - gradient[c] * scale; });
      }
    }
    const Real rate = intercept_rate * step;
    if (fit_intercept_) update(intercepts(), [&](Real b, std::size_t c) { return b - gradient[c] * rate; });
  }

  /// Like `descend`, with the prox at every visit. `pull` is a part of the gradient that does not
  /// come from this sample.
  template <typename Row, typename Penalty>
  void descend_reduced(const Row& x, std::span<const Real> gradient, Real step, Real intercept_rate,
                       const Penalty& penalty, std::span<const Real> pull) const {
    penalty.with_prox(step, 1, [&](const auto& prox) {
      for (std::size_t k = 0; k < x.size(); ++k) {
        const std::size_t j = x.index(k);
        const auto shrink = prox(j);
        const Real value = x.value(k);
        const Real* const from = &pull[j * m_];
        update(of(j), [&](Real w, std::size_t c) { return shrink(w - step * (gradient[c] * value + from[c])); });
      }
    });
    if (!fit_intercept_) return;
    const Real rate = intercept_rate * step;
    const Real* const from = &pull[pull.size() - m_];
    update(intercepts(), [&](Real b, std::size_t c) { return b - rate * (gradient[c] + from[c]); });
  }

  /// w_cj <- w_cj - scale_c x_j on the support of x.
  template <typename Row>
  void subtract(const Row& x, std::span<const Real> scale) const {
    for (std::size_t k = 0; k < x.size(); ++k) {
      const Real value = x.value(k);
      update(of(x.index(k)), [&](Real w, std::size_t c) { return w - scale[c] * value; });
    }
  }

  /// b_c <- b_c - change_c, if there are intercepts.
  void subtract_intercepts(std::span<const Real> change) const {
    if (fit_intercept_) update(intercepts(), [&](Real b, std::size_t c) { return b - change[c]; });
  }

 private:
  /// The weights of a feature.
  [[nodiscard]] Weight* of(std::size_t j) const { return weights_.data() + j * m_; }
  [[nodiscard]] Weight* intercepts() const { return weights_.data() + (weights_.size() - m_); }

  /// Calls `body(c)` for every decision value c.
  template <typename Body>
  void over_outputs(const Body& body) const {
    const std::size_t m = m_;
    if constexpr (std::is_same_v<Policy, Exclusive>) {
#pragma omp simd
      for (std::size_t c = 0; c < m; ++c) body(c);
    } else {
      for (std::size_t c = 0; c < m; ++c) body(c);
    }
  }

  /// w[c] becomes f(w[c], c) for every decision value c.
  template <typename F>
  void update(Weight* w, const F& f) const {
    over_outputs([&](std::size_t c) { policy_.update(w[c], [&](Real each) { return f(each, c); }); });
  }

  std::span<Weight> weights_;
  std::size_t m_;
  bool fit_intercept_;
  Policy& policy_;
};

}  // namespace dsgd
