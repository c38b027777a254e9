// Stochastic dual coordinate ascent for linear models with L2 (Shalev-Shwartz, Zhang 2013).
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t
#include <span>     // for span
#include <vector>   // for vector

#include "dsgd/objective/linear.hpp"
#include "dsgd/solver/dual_intercept.hpp"
#include "dsgd/solver/epoch.hpp"
#include "dsgd/solver/merge_plan.hpp"
#include "dsgd/solver/replica.hpp"
#include "dsgd/solver/rest.hpp"
#include "dsgd/solver/shares.hpp"

namespace dsgd {

struct SdcaConfig {
  std::size_t n_threads;
  /// Visits of a weight from one merge of the threads' replicas to the next.
  std::size_t merge_visits = 2;
  /// Factor of the curvature that a step assumes. Above 1 steps are shorter, for threads that do
  /// not see one another's steps until a merge.
  double damping = 1;
  /// Most epochs for which a sample whose steps change nothing is left out. 0: it is never left
  /// out.
  std::size_t max_rest = 16;
  /// Whether the first epoch is that of Modified-SGD. `begin`, with given weights, turns it off.
  bool sgd_first = true;
  /// Whether epochs return the mean loss of the samples.
  bool sum_loss = false;
};

/// The work and the result of an epoch.
struct SdcaEpoch {
  std::size_t visits;  // visited samples: those not at rest
  double gap;          // their part of the duality gap, before their steps; 0 if not measured
  double loss;         // mean of all samples' losses, each before its last step; 0 if not summed
};

/// The solver, with the dual variables.
template <typename Data>
class Sdca {
 public:
  using Real = typename Data::Real;

  /// The objective must outlive the solver. Throws Error(config) unless its penalty is L2 and its
  /// loss has a dual.
  Sdca(const LinearObjective<Data>& objective, SdcaConfig config);

  /// Begins from given weights: sets the dual variables to beta_i = -loss'(w.x_i + b, y_i), which
  /// are optimal if the weights are, and then the weights to those of the dual variables.
  void begin(std::span<Real> weights);

  /// Begins from given dual variables. Sets the weights to theirs, and returns D, as `rebuild` does.
  double begin(std::span<const double> duals, std::span<Real> weights);

  /// One pass over the data, without the samples at rest. `visited`, on one thread, is empty or has
  /// room for every row: its first SdcaEpoch::visits elements receive the rows in the order of
  /// their visits.
  SdcaEpoch epoch(std::span<Real> weights, const Epoch& epoch, bool measure_gap, std::span<std::int64_t> visited);

  /// Makes the dual variables feasible, computes the weights from them anew, without the rounding
  /// errors of the steps, and returns D. With an intercept the sum of all s_i beta_i must be 0: the
  /// dual variables of the sign with the larger sum are scaled down.
  double rebuild(std::span<Real> weights);

  /// Ends the rest of all samples: the next epoch visits every sample.
  void wake() { rest_.wake(); }

  [[nodiscard]] std::span<const Real> duals() const { return beta_; }

 private:
  template <typename Loss>
  SdcaEpoch pass(const Loss& loss, std::span<Real> weights, Shares& shares, std::size_t thread, bool measure_gap,
                 std::span<std::int64_t> visited, Replica<Real>* replica);
  template <typename Row>
  [[nodiscard]] Real curvature(std::size_t i, const Row& x);

  const LinearObjective<Data>& objective_;
  SdcaConfig config_;
  bool first_;    // whether the next epoch is that of Modified-SGD
  double scale_;  // 1 / (alpha n)
  DualIntercept intercept_;
  Rest rest_;
  std::vector<Real> curvature_;  // s_i (||x_i||^2 + rate of the intercept) / (alpha n); 0: unknown
  std::vector<Real> beta_;       // dual variables
  std::vector<Real> losses_;     // s_i times the loss of sample i at its last visit; empty if not summed
  std::vector<Replica<Real>> replicas_;
  MergePlan plan_;              // for the replicas
  SharedWeights<Real> shared_;  // of the replicas
};

}  // namespace dsgd
