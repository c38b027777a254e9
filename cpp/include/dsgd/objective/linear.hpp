// The objective of a linear model,
//
//   F(w, b) = (1/n) sum_i loss(w.x_i + b, y_i) + alpha R(w),
//
// over one flat parameter vector with the intercept b last; b is not regularised.
#pragma once

#include <cstddef>      // for size_t
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
  std::string loss;
  std::string penalty;  // "l2" or "none"
  double alpha;
  bool fit_intercept;
};

template <typename Data>
class LinearObjective {
 public:
  using Real = typename Data::Real;

  /// Counts how often each feature occurs; throws Error(data) when X and y differ in length and Error(config) for an
  /// unknown loss or penalty.
  LinearObjective(Data X, std::span<const Real> y, LinearConfig config, std::size_t n_threads);

  [[nodiscard]] const Data& X() const { return X_; }
  [[nodiscard]] std::span<const Real> y() const { return y_; }
  [[nodiscard]] const LinearConfig& config() const { return config_; }
  [[nodiscard]] std::size_t n_parameters() const { return X_.features() + (config_.fit_intercept ? 1 : 0); }

  /// F(w, b): an exact reduction whose value does not depend on the number of threads.
  [[nodiscard]] double value(std::span<const Real> weights, std::size_t n_threads) const;

  /// Calls `f(loss, penalty)` with both as static types.
  template <typename F>
  decltype(auto) visit(F&& f) const {
    return visit_loss(config_.loss, [&](auto loss) -> decltype(auto) {
      if (config_.penalty == "none" || config_.alpha == 0) return f(loss, NoPenalty{});
      return f(loss, L2<Real, Frequency>{static_cast<Real>(config_.alpha), frequency()});
    });
  }

  /// Throws Error(config) unless there is one weight for every parameter.
  void check_weights(std::span<const Real> weights) const;

 private:
  using Frequency = std::conditional_t<Data::kSparse, SupportOnly<Real>, EveryStep<Real>>;

  [[nodiscard]] Frequency frequency() const {
    if constexpr (Data::kSparse) {
      return {inverse_frequency_};
    } else {
      return {};
    }
  }

  Data X_;
  std::span<const Real> y_;
  LinearConfig config_;
  std::vector<Real> inverse_frequency_;  // n / (rows that hold the feature); sparse data only
};

/// w.x_i + b for every row of X; throws Error(config) when sizes do not match.
template <typename Data>
void decision_function(const Data& X, std::span<const typename Data::Real> weights, bool fit_intercept,
                       std::span<typename Data::Real> out, std::size_t n_threads);

}  // namespace dsgd
