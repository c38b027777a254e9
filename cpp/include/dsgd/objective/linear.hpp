// The objective of a linear model,
//
//   F(w, b) = (1/n) sum_i s_i loss(w.x_i + b, y_i) + alpha R(w),
//
// over one flat parameter vector with the intercept b last; b is not regularised. The sample weights s_i are not
// renormalised.
#pragma once

#include <cstddef>      // for size_t
#include <memory>       // for shared_ptr
#include <span>         // for span
#include <string>       // for string
#include <type_traits>  // for conditional_t
#include <vector>       // for vector

#include "dsgd/core/types.hpp"
#include "dsgd/data/matrix.hpp"
#include "dsgd/objective/loss.hpp"
#include "dsgd/objective/penalty.hpp"

namespace dsgd {

struct LinearConfig {
  LossConfig loss;
  double alpha_l1;  // alpha R(w) = alpha_l1 ||w||_1 + alpha_l2 / 2 ||w||^2
  double alpha_l2;
  bool fit_intercept;
  double intercept_rate = 1;  // the intercept's step, in steps of the other weights
};

template <typename Data>
class LinearObjective {
 public:
  using Real = typename Data::Real;

  /// Counts how often each feature occurs. `sample_weight` may be empty: every s_i is 1. Throws Error(data) when
  /// lengths differ and Error(config) for an unknown loss.
  LinearObjective(Data X, std::span<const Real> y, std::span<const Real> sample_weight, LinearConfig config,
                  std::size_t n_threads);

  /// The same with other targets, sharing what was counted; throws Error(data) unless there is one for every row.
  [[nodiscard]] LinearObjective with_target(std::span<const Real> y) const;

  [[nodiscard]] const Data& X() const { return X_; }
  [[nodiscard]] std::span<const Real> y() const { return y_; }
  [[nodiscard]] Real sample_weight(std::size_t i) const { return sample_weight_.empty() ? Real{1} : sample_weight_[i]; }
  [[nodiscard]] const LinearConfig& config() const { return config_; }
  [[nodiscard]] std::size_t n_parameters() const { return X_.features() + (config_.fit_intercept ? 1 : 0); }

  /// The mean loss without the penalty: an exact reduction whose value does not depend on the number of threads.
  [[nodiscard]] double mean_loss(std::span<const Real> weights, std::size_t n_threads) const;

  /// F(w, b): the mean loss and the penalty.
  [[nodiscard]] double value(std::span<const Real> weights, std::size_t n_threads) const;

  /// The gradient of the mean loss alone, without the penalty: an exact reduction, the same for the same number of
  /// threads. Throws Error(config) unless `out` has one element for every parameter.
  void loss_gradient(std::span<const Real> weights, std::span<double> out, std::size_t n_threads) const;

  /// Calls `f(loss, penalty)` with both as static types.
  template <typename F>
  decltype(auto) visit(F&& f) const {
    return visit_loss(config_.loss, [&](auto loss) -> decltype(auto) {
      const auto l1 = static_cast<Real>(config_.alpha_l1);
      const auto l2 = static_cast<Real>(config_.alpha_l2);
      if (l1 == 0 && l2 == 0) return f(loss, NoPenalty{});
      if (l1 == 0) return f(loss, L2<Real, Frequency>{l2, frequency()});
      return f(loss, ElasticNet<Real, Frequency>{l1, l2, frequency()});
    });
  }

  /// The edges of `n_ranges` ranges of features with about as many stored entries each: n_ranges + 1 of them.
  [[nodiscard]] std::vector<std::size_t> feature_ranges(std::size_t n_ranges) const;

  /// Throws Error(config) unless there is one weight for every parameter.
  void check_weights(std::span<const Real> weights) const;

 private:
  using Frequency = std::conditional_t<Data::kSparse, SupportOnly<Real>, EveryStep<Real>>;

  /// Throws Error(data) unless `size` is that of one element for every row.
  void check_length(const char* what, std::size_t size) const;

  [[nodiscard]] Frequency frequency() const {
    if constexpr (Data::kSparse) {
      return {*inverse_frequency_};
    } else {
      return {};
    }
  }

  Data X_;
  std::span<const Real> y_;
  std::span<const Real> sample_weight_;
  LinearConfig config_;
  // n / (rows that hold the feature); sparse data only
  std::shared_ptr<const std::vector<Real>> inverse_frequency_;
};

/// w.x_i + b for every row of X; throws Error(config) when sizes do not match.
template <typename Data>
void decision_function(const Data& X, std::span<const typename Data::Real> weights, bool fit_intercept,
                       std::span<typename Data::Real> out, std::size_t n_threads);

}  // namespace dsgd
