// Stochastic variance reduced gradient: DisSVRG (Ming, Zhao, Guo, Yin) on one machine, its threads
// without locks.
#pragma once

#include <atomic>   // for atomic
#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t
#include <limits>   // for numeric_limits
#include <span>     // for span
#include <string>   // for string
#include <vector>   // for vector

#include "dsgd/objective/linear.hpp"
#include "dsgd/solver/epoch.hpp"

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
  void take_anchor(std::span<const Real> weights);

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
  /// The sum of the norms of the samples' gradients so far, and the number of these samples.
  struct Norms {
    double sum = 0;
    std::size_t samples = 0;
  };
  /// The state of one thread between steps.
  struct Walk {
    Draws draws;
    std::size_t n_steps = 0;  // since `begin`
    Norms norms{};
  };
  /// The multipliers of w = scale v + shift mu.
  struct Multipliers {
    Real scale;
    Real shift;
  };

  template <typename Row>
  Real lengthened(Real step, std::span<const Real> residual, const Row& x, Norms& norms) const;
  void change_since_anchor(std::size_t i, std::span<Real> residual) const;
  void spread(std::span<const Real> mean, std::span<const Real> inverse_frequency);
  template <typename Policy, typename Rows>
  void reweighted(std::span<Real> weights, Real step, Norms& norms, const Rows& for_each_row) const;
  template <typename Policy>
  void scalar(std::span<Real> v, double step, Walk& walk, std::size_t count, std::int64_t* visited,
              std::atomic<std::size_t>& taken) const;
  [[nodiscard]] Multipliers multipliers(double step, std::size_t taken) const;
  void fold(std::span<Real> v, double step, std::size_t taken) const;
  template <typename Body>
  void share_out(std::size_t count, const Body& body);

  const LinearObjective<Data>& objective_;
  SvrgConfig config_;
  std::vector<Walk> walks_;      // one per thread
  std::size_t n_steps_ = 0;      // steps of all threads since `begin`
  std::vector<double> mean_;     // mu: the gradient of the mean loss at the anchor
  std::vector<Real> pull_;       // "reweighted": mu_j / p_j; "scalar": mu_j
  bool has_mean_ = false;        // whether an anchor or `use_mean` has set pull_
  std::vector<Real> residuals_;  // of every sample at the anchor
};

}  // namespace dsgd
