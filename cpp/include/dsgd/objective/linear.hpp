// The objective of a linear model,
//
//   F(w, b) = (1/n) sum_i s_i loss(w.x_i + b, y_i) + alpha R(w),
//
// over one flat parameter vector with the intercept b last; b is not regularised. The sample weights s_i are not
// renormalised. With a loss of m decision values there are m weights a feature, which are neighbours, and m intercepts.
#pragma once

#include <algorithm>    // for max
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
  double intercept_rate = 1;  // the intercept's step, in steps of the other weights
};

template <typename DataT>
class LinearObjective {
 public:
  using Data = DataT;
  using Real = typename Data::Real;

  /// How often each feature occurs is counted on `n_threads` threads when somebody first asks, unless
  /// `inverse_frequency` says so: on a shard of the data the penalty needs the frequencies of the whole.
  /// `sample_weight` may be empty: every s_i is 1. Throws Error(data) when lengths differ, and where the loss wants
  /// numbers of classes and a target is none; Error(config) for an unknown loss, and for inverse frequencies of dense
  /// data.
  LinearObjective(Data X, std::span<const Real> y, std::span<const Real> sample_weight, LinearConfig config,
                  std::size_t n_threads, std::span<const Real> inverse_frequency = {});

  /// The same objective with features in another order, by falling frequency (renumber.hpp): feature r of `X`, which
  /// has the rows of `other`, is feature order[r] there. Throws Error(config) when sizes differ.
  template <typename OtherData>
  LinearObjective(const LinearObjective<OtherData>& other, Data X, std::span<const std::int64_t> order);
  /// The same with other targets, sharing what was counted; throws Error(data) for targets as the constructor does.
  [[nodiscard]] LinearObjective with_target(std::span<const Real> y) const;

  [[nodiscard]] const Data& X() const { return X_; }
  [[nodiscard]] std::span<const Real> y() const { return y_; }
  /// Empty: every s_i is 1.
  [[nodiscard]] std::span<const Real> sample_weight() const { return sample_weight_; }
  [[nodiscard]] Real sample_weight(std::size_t i) const { return sample_weight_.empty() ? Real{1} : sample_weight_[i]; }
  [[nodiscard]] const LinearConfig& config() const { return config_; }
  /// Whether features are numbered by falling frequency, as good as.
  [[nodiscard]] bool ordered() const { return ordered_; }

  /// n / (rows that hold feature j).
  [[nodiscard]] double inverse_frequency(std::size_t j) const { return static_cast<double>(frequency().inverse(j)); }
  /// The same of every feature; empty for dense data.
  [[nodiscard]] std::span<const Real> inverse_frequency() const {
    return Data::kSparse ? std::span<const Real>(counted()) : std::span<const Real>();
  }

  [[nodiscard]] bool has_intercept() const { return config_.fit_intercept; }
  [[nodiscard]] std::size_t n_parameters() const {
    return (X_.features() + (has_intercept() ? 1 : 0)) * parameters_per_feature();
  }
  /// As many as there are decision values.
  [[nodiscard]] std::size_t parameters_per_feature() const { return config_.loss.n_outputs; }
  [[nodiscard]] std::size_t residual_size() const { return config_.loss.n_outputs; }

  /// The mean loss without the penalty: an exact reduction whose value does not depend on the number of threads.
  [[nodiscard]] double mean_loss(std::span<const Real> weights, std::size_t n_threads) const;

  /// F(w, b): the mean loss and the penalty.
  [[nodiscard]] double value(std::span<const Real> weights, std::size_t n_threads) const;

  /// The gradient of the mean loss alone, without the penalty: an exact reduction, the same for the same number of
  /// threads. `derivatives` receives the residual of every row, s_i loss'(w.x_i + b, y_i), unless it is empty. Throws
  /// Error(config) unless `out` has one element for every parameter, and `derivatives` none or those of every row.
  void loss_gradient(std::span<const Real> weights, std::span<double> out, std::size_t n_threads,
                     std::span<Real> derivatives = {}) const;

  /// Calls `f(kernel)`, which has loss and penalty as static types.
  template <typename F>
  void visit(F&& f) const {
    visit_compiled(config_.loss, [&]<typename Loss>(const Loss& loss) {
      visit_penalty([&]<typename Penalty>(const Penalty& penalty) {
        f(LinearKernel<Data, Loss, Penalty>{*this, loss, penalty});
      });
    });
  }
  /// The same for a loop that only evaluates: the kernel has no penalty.
  template <typename F>
  void visit_evaluation(F&& f) const {
    visit_compiled(config_.loss,
                   [&]<typename Loss>(const Loss& loss) { f(LinearKernel<Data, Loss, NoPenalty>{*this, loss, {}}); });
  }
  /// The same for a loop that only descends, to which losses differ by the number of their decision values alone.
  template <typename F>
  void visit_descent(F&& f) const {
    visit_outputs(config_.loss, [&]<typename Loss>(const Loss& loss) {
      visit_penalty([&]<typename Penalty>(const Penalty& penalty) {
        f(LinearKernel<Data, Loss, Penalty>{*this, loss, penalty});
      });
    });
  }
  /// The same for steps reduced in variance, which bring the penalty on every visit: none is a type of its own, and
  /// the loss is chosen at every sample.
  template <typename F>
  void visit_reduced(F&& f) const {
    visit_outputs(config_.loss, [&]<typename Loss>(const Loss& loss) {
      // In the type of the weights, as visit_penalty sees them: 1e-50 is 0 in float.
      if (static_cast<Real>(config_.alpha_l1) == 0 && static_cast<Real>(config_.alpha_l2) == 0) {
        f(LinearKernel<Data, Loss, NoPenalty>{*this, loss, {}});
      } else {
        visit_penalty([&]<typename Penalty>(const Penalty& penalty) {
          f(LinearKernel<Data, Loss, Penalty>{*this, loss, penalty});
        });
      }
    });
  }

  /// The edges of `n_ranges` ranges of features with about as many stored entries each: n_ranges + 1 of them.
  [[nodiscard]] std::vector<std::size_t> feature_ranges(std::size_t n_ranges) const;

  /// Throws Error(config) unless there is one weight for every parameter.
  void check_weights(std::span<const Real> weights) const;

 private:
  template <typename OtherData>
  friend class LinearObjective;
  using Frequency = std::conditional_t<Data::kSparse, SupportOnly<Real>, EveryStep<Real>>;

  /// Throws Error(data) unless `size` is that of one element for every row.
  void check_length(const char* what, std::size_t size) const;
  /// Throws Error(data) unless there is a target for every row, the number of a class where the loss wants that.
  void check_target() const;

  /// Calls `f` with the penalty as a static type. Frequencies are counted where there is one only.
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
      // The mean over the entries is that over features, each d_j times: n / d_j d_j = n for every feature.
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
  /// n / (rows that hold the feature), once counted; of sparse data only. Objectives of the same matrix share it.
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

/// w.x_i + b for every row of X, as many decision values as `out` has elements a row; throws Error(config) when sizes
/// do not match.
template <typename Data>
void decision_function(const Data& X, std::span<const typename Data::Real> weights, bool fit_intercept,
                       std::span<typename Data::Real> out, std::size_t n_threads);

}  // namespace dsgd
