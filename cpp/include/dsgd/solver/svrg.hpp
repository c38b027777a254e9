// Stochastic variance reduced gradient: DisSVRG (Ming, Zhao, Guo, Yin) on one machine, its threads
// without locks.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t
#include <limits>   // for numeric_limits
#include <span>     // for span
#include <string>   // for string
#include <vector>   // for vector

#include "dsgd/objective/linear.hpp"
#include "dsgd/solver/epoch.hpp"
#include "dsgd/solver/sample_factor.hpp"
#include "dsgd/solver/shared_draws.hpp"
#include "dsgd/solver/svrg_scalar.hpp"

namespace dsgd {

struct SvrgConfig {
  std::size_t n_threads;
  /// "reweighted" or "scalar": how a sparse step applies the dense mean gradient (svrg.cpp).
  std::string mean_gradient = "reweighted";
  /// Bound of sigma, by which the sample's own gradient lengthens its step to step (1 + sigma). 0:
  /// off.
  double max_sigma = 0;
  /// Bound of a lengthened step.
  double longest_step = std::numeric_limits<double>::infinity();
};

/// The solver, with its anchor.
template <typename Data>
class Svrg {
 public:
  using Real = typename Data::Real;

  /// The objective must outlive the solver. Before the first anchor the steps of `descend` are those of
  /// plain stochastic gradient descent on all threads, with which a run may begin. Throws Error(config)
  /// for an unknown form of the mean gradient, and for "scalar" with L1 or with max_sigma above 0.
  Svrg(const LinearObjective<Data>& objective, SvrgConfig config);

  /// Begins an epoch: the order of the rows is drawn anew.
  void begin(const Epoch& epoch);

  /// Makes `weights` the anchor: computes the mean gradient and the residuals of all rows there.
  /// Returns the mean loss there if `with_loss`, otherwise 0.
  double take_anchor(std::span<const Real> weights, bool with_loss = false);

  /// Replaces the mean gradient of the anchor by `mean`, for instance the mean over many workers. A
  /// sparse step multiplies it by `inverse_frequency`, one element per feature, or by the inverse
  /// frequencies of the objective if this is empty. Throws Error(config) for wrong sizes.
  void use_mean(std::span<const Real> mean, std::span<const Real> inverse_frequency = {});

  /// Inner steps on the rows `rows`, one after the other, on one thread. Throws Error(config) for a
  /// row number outside the data, for wrong sizes, for the form "scalar", and before there is a mean
  /// gradient: `sgd_rows` makes plain steps (row_sgd.hpp).
  void descend_rows(std::span<Real> weights, double step, std::span<const std::int64_t> rows);

  /// The next `count` inner steps, counted over all threads. `visited`, if it is not empty,
  /// receives their rows; only with one thread. Throws Error(config) before `begin`, for wrong
  /// sizes, and for `visited` on several threads.
  void descend(std::span<Real> weights, double step, std::size_t count, std::span<std::int64_t> visited = {});

  /// The gradient of the mean loss at the anchor.
  [[nodiscard]] std::span<const double> mean_gradient() const { return mean_; }

 private:
  [[nodiscard]] SampleFactor new_factor() const {
    return {config_.max_sigma, config_.longest_step, objective_.config().fit_intercept};
  }
  void spread(std::span<const Real> mean, std::span<const Real> inverse_frequency);
  template <typename Policy, typename Rows>
  void reweighted(std::span<Real> weights, Real step, SampleFactor& factor, const Rows& for_each_row) const;
  template <typename Policy, typename Rows>
  void scalar(std::span<Real> weights, Real step, ScalarForm<Real>& form, SampleFactor& factor,
              const Rows& for_each_row) const;
  template <typename Access, typename Residual, typename Rows>
  void inner_loop(Access&& w, Residual g, Real step, SampleFactor& factor, const Rows& for_each_row) const;
  template <typename Body>
  void on_threads(std::size_t count, std::int64_t* visited, const Body& body);

  const LinearObjective<Data>& objective_;
  SvrgConfig config_;
  SharedDraws draws_;
  std::vector<SampleFactor> factors_;  // one per thread
  std::vector<double> mean_;           // mu: the gradient of the mean loss at the anchor
  std::vector<Real> pull_;             // "reweighted": mu_j / p_j; "scalar": mu_j
  bool has_mean_ = false;              // whether an anchor or `use_mean` has set pull_
  std::vector<Real> residuals_;        // of every sample at the anchor
};

}  // namespace dsgd
