// The objective of a linear model,
//
//   F(w, b) = (1/n) sum_i s_i loss(w.x_i + b, y_i) + alpha R(w),
//
// over one flat parameter vector with the intercept b last; b is not regularised. The sample
// weights s_i are not renormalised. A loss of m decision values has m weights per feature, which
// are neighbours in memory, and m intercepts.
#pragma once

#include <algorithm>    // for max
#include <cmath>        // for abs
#include <cstddef>      // for size_t
#include <cstdint>      // for int64_t
#include <memory>       // for make_shared, shared_ptr
#include <mutex>        // for call_once, once_flag
#include <span>         // for span
#include <string>       // for string
#include <type_traits>  // for conditional_t
#include <utility>      // for move
#include <vector>       // for vector

#include "dsgd/core/error.hpp"
#include "dsgd/core/types.hpp"
#include "dsgd/data/matrix.hpp"
#include "dsgd/objective/linear_kernel.hpp"
#include "dsgd/objective/loss.hpp"
#include "dsgd/objective/penalty.hpp"

namespace dsgd {

struct LinearConfig {
  LossConfig loss;
  double alpha_l1;  // alpha R(w) = alpha_l1 ||w||_1 + alpha_l2 / 2 ||w||^2
  double alpha_l2;
  bool fit_intercept;
  double intercept_rate = 1;  // step size of the intercept divided by that of the weights
};

/// alpha R(w) of weights without the intercept, in double precision.
template <RealType Real>
[[nodiscard]] double penalty_of(std::span<const Real> weights, const LinearConfig& config) {
  double penalty = 0;
  for (const Real each : weights) {
    const auto w = static_cast<double>(each);
    penalty += config.alpha_l1 * std::abs(w) + config.alpha_l2 / 2 * w * w;
  }
  return penalty;
}

template <typename DataT>
class LinearObjective {
 public:
  using Data = DataT;
  using Real = typename Data::Real;

  /// The first use of the frequencies of the features counts them, on `n_threads` threads. If
  /// `inverse_frequency` is given it is used instead: for a shard of the data, the penalty needs
  /// the frequencies of the whole data. An empty `sample_weight` means that every s_i is 1. Throws
  /// Error(data) if lengths differ, and if the loss needs class numbers and a target is not one;
  /// Error(config) for an unknown loss, and for inverse frequencies of dense data.
  LinearObjective(Data X, std::span<const Real> y, std::span<const Real> sample_weight, LinearConfig config,
                  std::size_t n_threads, std::span<const Real> inverse_frequency = {});

  /// The objective `other` with its features in another order, by falling frequency (renumber.hpp).
  /// `X` has the rows of `other`, and its feature r is feature order[r] of `other`. Throws
  /// Error(config) if sizes differ.
  template <typename OtherData>
  LinearObjective(const LinearObjective<OtherData>& other, Data X, std::span<const std::int64_t> order);
  /// This objective with other targets; both share the counted frequencies. Throws Error(data) for
  /// targets as the constructor does.
  [[nodiscard]] LinearObjective with_target(std::span<const Real> y) const;

  [[nodiscard]] const Data& X() const { return X_; }
  [[nodiscard]] std::span<const Real> y() const { return y_; }
  /// If it is empty, every s_i is 1.
  [[nodiscard]] std::span<const Real> sample_weight() const { return sample_weight_; }
  [[nodiscard]] Real sample_weight(std::size_t i) const { return sample_weight_.empty() ? Real{1} : sample_weight_[i]; }
  [[nodiscard]] const LinearConfig& config() const { return config_; }
  /// Whether features are numbered by falling frequency, to an eighth (renumber.hpp). True for
  /// dense data, where all frequencies are equal.
  [[nodiscard]] bool ordered() const { return ordered_; }

  /// n / (rows that hold feature j).
  [[nodiscard]] double inverse_frequency(std::size_t j) const { return static_cast<double>(frequency().inverse(j)); }
  /// n / (rows that hold the feature), of every feature; empty for dense data.
  [[nodiscard]] std::span<const Real> inverse_frequency() const {
    return Data::kSparse ? std::span<const Real>(counted()) : std::span<const Real>();
  }

  [[nodiscard]] bool has_intercept() const { return config_.fit_intercept; }
  [[nodiscard]] std::size_t n_parameters() const {
    return (X_.features() + (has_intercept() ? 1 : 0)) * parameters_per_feature();
  }
  /// The number of decision values.
  [[nodiscard]] std::size_t parameters_per_feature() const { return config_.loss.n_outputs; }
  [[nodiscard]] std::size_t residual_size() const { return config_.loss.n_outputs; }

  /// The mean loss without the penalty, of all rows. The value does not depend on the number of
  /// threads.
  [[nodiscard]] double mean_loss(std::span<const Real> weights, std::size_t n_threads) const;

  /// F(w, b): the mean loss and the penalty.
  [[nodiscard]] double value(std::span<const Real> weights, std::size_t n_threads) const;

  /// The gradient of the mean loss of all rows, without the penalty. It is the same, bit for bit,
  /// for the same number of threads. `derivatives`, if it is not empty, receives the residual of
  /// every row, s_i loss'(w.x_i + b, y_i). Returns the mean loss if `with_loss`, otherwise 0. Throws
  /// Error(config) unless `out` has one element for every parameter, and `derivatives` has no element
  /// or one for every row and decision value.
  // NOLINTNEXTLINE(modernize-use-nodiscard): most callers need only the gradient
  double loss_gradient(std::span<const Real> weights, std::span<double> out, std::size_t n_threads,
                       std::span<Real> derivatives = {}, bool with_loss = false) const;

  /// Calls `f(kernel)`. The kernel has the loss and the penalty as static types.
  template <typename F>
  void visit(F&& f) const {
    visit_compiled(config_.loss, [&]<typename Loss>(const Loss& loss) {
      visit_penalty([&]<typename Penalty>(const Penalty& penalty) {
        f(LinearKernel<Data, Loss, Penalty>{*this, loss, penalty});
      });
    });
  }
  /// Like `visit`, for a loop that only evaluates: the kernel has no penalty.
  template <typename F>
  void visit_evaluation(F&& f) const {
    visit_compiled(config_.loss,
                   [&]<typename Loss>(const Loss& loss) { f(LinearKernel<Data, Loss, NoPenalty>{*this, loss, {}}); });
  }
  /// Like `visit`, for a loop that only descends. Such a loop depends on the loss only by the
  /// number of decision values.
  template <typename F>
  void visit_descent(F&& f) const {
    visit_outputs(config_.loss, [&]<typename Loss>(const Loss& loss) {
      visit_penalty([&]<typename Penalty>(const Penalty& penalty) {
        f(LinearKernel<Data, Loss, Penalty>{*this, loss, penalty});
      });
    });
  }
  /// Like `visit`, for variance-reduced steps, which apply the penalty at every visit. "No penalty"
  /// is a type of its own, and every sample branches on the loss.
  template <typename F>
  void visit_reduced(F&& f) const {
    visit_outputs(config_.loss, [&]<typename Loss>(const Loss& loss) {
      // Compared in the type of the weights, as in visit_penalty: 1e-50 is 0 in float.
      if (static_cast<Real>(config_.alpha_l1) == 0 && static_cast<Real>(config_.alpha_l2) == 0) {
        f(LinearKernel<Data, Loss, NoPenalty>{*this, loss, {}});
      } else {
        visit_penalty([&]<typename Penalty>(const Penalty& penalty) {
          f(LinearKernel<Data, Loss, Penalty>{*this, loss, penalty});
        });
      }
    });
  }

  /// Divides the features into `n_ranges` ranges with about equal numbers of stored entries.
  /// Returns the n_ranges + 1 edges of the ranges.
  [[nodiscard]] std::vector<std::size_t> feature_ranges(std::size_t n_ranges) const;

  /// Throws Error(config) unless there is one weight for every parameter.
  void check_weights(std::span<const Real> weights) const;

 private:
  template <typename OtherData>
  friend class LinearObjective;
  using Frequency = std::conditional_t<Data::kSparse, SupportOnly<Real>, EveryStep<Real>>;

  /// Throws Error(data) unless `size` is the number of rows.
  void check_length(const char* what, std::size_t size) const;
  /// Throws Error(data) unless there is a target for every row and, for softmax, every target is
  /// the number of a class.
  void check_target() const;

  /// Calls `f` with the penalty as a static type. Counts frequencies only if there is a penalty.
  template <typename F>
  void visit_penalty(F&& f) const {
    const auto l1 = static_cast<Real>(config_.alpha_l1);
    const auto l2 = static_cast<Real>(config_.alpha_l2);
    if (l1 != 0) {
      f(ElasticNet<Real, Frequency>{l1, l2, frequency()});
    } else {
      f(L2<Real, Frequency>{l2, l2 == 0 ? Frequency{} : frequency()});
    }
  }

  [[nodiscard]] Frequency frequency() const {
    if constexpr (Data::kSparse) {
      // The mean of n / d_j over the stored entries. Feature j has d_j entries, and d_j (n / d_j) =
      // n, so that the sum over the entries is n times the number of features.
      const auto entries = static_cast<Real>(std::max<std::size_t>(X_.nonzeros(), 1));
      return {counted(), static_cast<Real>(X_.rows()) * static_cast<Real>(X_.features()) / entries};
    } else {
      return {};
    }
  }

  Data X_;
  std::span<const Real> y_;
  std::span<const Real> sample_weight_;
  LinearConfig config_;
  /// n / (rows that hold the feature), empty until it is first used; for sparse data only.
  /// Objectives of the same matrix share it.
  struct Frequencies {
    std::once_flag once;
    std::vector<Real> inverse;
  };
  [[nodiscard]] const std::vector<Real>& counted() const;

  std::shared_ptr<Frequencies> frequencies_ = std::make_shared<Frequencies>();
  std::size_t n_threads_ = 1;
  bool ordered_ = !Data::kSparse;
};

template <typename Data>
template <typename OtherData>
LinearObjective<Data>::LinearObjective(const LinearObjective<OtherData>& other, Data X,
                                       std::span<const std::int64_t> order)
    : X_(X), y_(other.y_), sample_weight_(other.sample_weight_), config_(other.config_), ordered_(true) {
  if (X.rows() != other.X_.rows() || X.features() != other.X_.features() || order.size() != X.features()) {
    throw Error(ErrorCode::config, "the renumbered matrix has another size than the objective's");
  }
  std::call_once(frequencies_->once, [&] {
    frequencies_->inverse.reserve(order.size());
    for (const std::int64_t feature : order) {
      frequencies_->inverse.push_back(other.counted()[static_cast<std::size_t>(feature)]);
    }
  });
}

/// Writes w.x_i + b for every row of X into `out`. The number of decision values is the number of
/// elements of `out` per row. Throws Error(config) if sizes do not match.
template <typename Data>
void decision_function(const Data& X, std::span<const typename Data::Real> weights, bool fit_intercept,
                       std::span<typename Data::Real> out, std::size_t n_threads);

}  // namespace dsgd
