// Stochastic dual coordinate ascent for linear models with L2 (Shalev-Shwartz, Zhang 2013).
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t, uint8_t
#include <mutex>    // for mutex
#include <span>     // for span
#include <vector>   // for vector

#include "dsgd/objective/linear.hpp"
#include "dsgd/solver/epoch.hpp"
#include "dsgd/solver/merge_plan.hpp"
#include "dsgd/solver/replica.hpp"

namespace dsgd {

struct SdcaConfig {
  std::size_t n_threads;
  std::size_t merge_visits = 2;  // of a weight, from one merge of the threads' replicas to the next
  double damping = 1;            // curvature of a step, in that of one thread; more where others step unseen
  std::size_t max_rest = 16;     // epochs, at most, that a sample whose step changed nothing is left out; 0: none
  bool sgd_first = true;         // whether the first epoch is that of Modified-SGD, unless weights are given
};

/// What an epoch did.
struct SdcaEpoch {
  std::size_t visits;  // samples that were not at rest
  double gap;          // their part of the duality gap, each as it was found; 0 unless asked for
};

/// The solver, with the dual variables.
template <typename Data>
class Sdca {
 public:
  using Real = typename Data::Real;

  /// The objective must outlive the solver. Throws Error(config) unless its penalty is L2 and its loss has a dual.
  Sdca(const LinearObjective<Data>& objective, SdcaConfig config);

  /// Begins at the dual variables that suit the weights best, beta_i = -loss'(w.x_i + b, y_i), and makes the weights
  /// those of the dual variables.
  void begin(std::span<Real> weights);

  /// One pass over the data, but for samples at rest. `visited`, on one thread, is empty or has room for every row: its
  /// first SdcaEpoch::visits elements receive the rows in the order of their visits.
  SdcaEpoch epoch(std::span<Real> weights, const Epoch& epoch, bool measure_gap, std::span<std::int64_t> visited);

  /// Makes the dual variables feasible and the weights exactly theirs, without what rounding left; returns D. With an
  /// intercept the dual variables must have the sum zero: those of the heavier sign are scaled down.
  double rebuild(std::span<Real> weights);

  /// Ends the rest of all samples.
  void wake();

  [[nodiscard]] std::span<const Real> duals() const { return beta_; }

 private:
  template <typename Loss>
  SdcaEpoch pass(const Loss& loss, std::span<Real> weights, const Epoch& epoch, std::size_t thread, bool measure_gap,
                 std::span<std::int64_t> visited, Replica<Real>* replica);
  [[nodiscard]] Real first_share(std::size_t visits) const;
  template <typename Row>
  [[nodiscard]] Real curvature(std::size_t i, const Row& x);
  [[nodiscard]] bool at_rest(std::size_t i);
  void balance();
  void move_centre(std::span<Real> weights);

  const LinearObjective<Data>& objective_;
  SdcaConfig config_;
  bool first_;                      // whether the next epoch is that of Modified-SGD
  double scale_;                    // 1 / (alpha n)
  double intercept_rate_;           // the square of the constant feature that the intercept is the weight of
  double centre_ = 0;               // what the intercept is regularised towards
  std::vector<Real> curvature_;     // s_i (||x_i||^2 + intercept_rate) / (alpha n); 0: not computed yet
  std::vector<Real> beta_;          // dual variables
  std::vector<std::uint8_t> rest_;  // epochs that the sample is still left out
  std::vector<std::uint8_t> idle_;  // visits in a row that changed nothing
  std::vector<Replica<Real>> replicas_;
  MergePlan plan_;  // of the replicas
  std::mutex merging_;
};

}  // namespace dsgd
