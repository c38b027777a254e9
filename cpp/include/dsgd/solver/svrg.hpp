// Stochastic variance reduced gradient: DisSVRG (Ming, Zhao, Guo, Yin) on one machine, its threads without locks.
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
  std::string mean_gradient = "reweighted";  // or "scalar": how a sparse step brings the dense mean gradient
  double max_sigma = 0;                      // most that a sample's own gradient may lengthen its step by; 0: no factor
  double longest_step = std::numeric_limits<double>::infinity();  // of the steps so lengthened
};

/// The solver, with its anchor.
template <typename Data>
class Svrg {
 public:
  using Real = typename Data::Real;

  /// The objective must outlive the solver. Without an anchor its steps are those of plain stochastic gradient descent.
  /// Throws Error(config) for an unknown form of the mean gradient, and for "scalar" with L1 or a sample's own factor.
  Svrg(const LinearObjective<Data>& objective, SvrgConfig config);

  /// Draws the rows of an epoch afresh.
  void begin(const Epoch& epoch);

  /// Evaluates mean gradient and derivatives at the anchor `weights`.
  void take_anchor(std::span<const Real> weights);

  /// Takes the mean gradient of the steps from elsewhere, as from many workers, in place of the anchor's. A sparse step
  /// brings it by `inverse_frequency`, one element a feature; empty: by that of the objective. Throws Error(config) for
  /// wrong sizes.
  void use_mean(std::span<const Real> mean, std::span<const Real> inverse_frequency = {});

  /// Inner steps on these rows in turn, on one thread. Throws Error(config) for a row that is not there, wrong sizes,
  /// and the form "scalar".
  void descend_rows(std::span<Real> weights, double step, std::span<const std::int64_t> rows);

  /// The next `count` inner steps of all threads together. `visited`, if it is not empty, receives their rows, of one
  /// thread. Throws Error(config) before `begin`, for wrong sizes, and for `visited` on several threads.
  void descend(std::span<Real> weights, double step, std::size_t count, std::span<std::int64_t> visited = {});

  /// The gradient of the mean loss at the anchor.
  [[nodiscard]] std::span<const double> mean_gradient() const { return mean_; }

 private:
  /// The norms of the samples' gradients so far.
  struct Norms {
    double sum = 0;
    std::size_t samples = 0;
  };
  /// What one thread keeps from step to step.
  struct Walk {
    Draws draws;
    std::size_t n_steps = 0;  // since the rows were drawn afresh
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
  std::vector<Walk> walks_;      // one a thread
  std::size_t n_steps_ = 0;      // of all threads since the rows were drawn afresh
  std::vector<double> mean_;     // mu: the gradient of the mean loss at the anchor
  std::vector<Real> pull_;       // "reweighted": mu_j / p_j, "scalar": mu_j
  std::vector<Real> residuals_;  // of every sample at the anchor
};

}  // namespace dsgd
