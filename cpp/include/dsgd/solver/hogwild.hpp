// Hogwild!: parallel stochastic gradient descent without locks (Niu, Recht, Re, Wright 2011).
#pragma once

#include <atomic>    // for atomic_flag
#include <cstddef>   // for size_t
#include <cstdint>   // for uint64_t
#include <optional>  // for optional
#include <span>      // for span
#include <string>    // for string
#include <vector>    // for vector

#include "dsgd/core/gate.hpp"
#include "dsgd/objective/objective.hpp"
#include "dsgd/solver/delay.hpp"
#include "dsgd/solver/epoch.hpp"
#include "dsgd/solver/merge_plan.hpp"
#include "dsgd/solver/replica.hpp"
#include "dsgd/solver/shares.hpp"

namespace dsgd {

struct HogwildConfig {
  std::size_t n_threads;
  /// "racy" or "atomic" (atomic.hpp); "locked" and "in-turn" are racy writes behind a gate
  /// (gate.hpp).
  std::string write = "racy";
  /// Racy threads write replicas, which merge a weight after so many of its visits. 0: no replicas.
  std::size_t merge_visits = 0;
  bool record_delay = false;
  bool sum_loss = false;
};

/// The solver, and the state that its threads keep from one epoch to the next. The objective of
/// k-means has a specialisation of its own (kmeans.hpp).
template <GradientObjective Objective>
class Hogwild {
  static_assert(SampleObjective<Objective>);

 public:
  using Real = typename Objective::Real;

  /// The objective must outlive the solver. Throws Error(config) for an unknown policy, and
  /// Error(data) for "locked" with columns that are not sorted and distinct.
  Hogwild(const Objective& objective, HogwildConfig config);

  /// One pass over the data by all threads. If `sum_loss`, returns the mean loss of the samples,
  /// each at the weights that its thread saw before its step; otherwise 0.
  double epoch(std::span<Real> weights, const Epoch& epoch);

  /// The number of updates of each delay (delay.hpp), over all epochs. Empty unless
  /// config.record_delay.
  [[nodiscard]] std::vector<std::uint64_t> delays() const;

 private:
  /// One thread's share of an epoch: `pass` on the shared weights, behind a gate; `replicate` on the
  /// thread's replica. Both return the sum of the losses of the thread's samples if `sum_loss`,
  /// otherwise 0.
  template <typename Policy>
  double pass(std::span<Real> weights, const Epoch& epoch, Shares& shares, std::size_t thread, const Gate& gate);
  double replicate(const Epoch& epoch, Shares& shares, std::size_t thread);

  /// One thread is `sgd` (sgd.hpp) under every write policy. Returns the mean loss.
  double alone(std::span<Real> weights, const Epoch& epoch);

  /// An epoch of several threads with replicas. Adds their losses to `losses`.
  void merged_epoch(std::span<Real> weights, const Epoch& epoch, std::span<double> losses);

  const Objective& objective_;
  HogwildConfig config_;
  std::vector<std::atomic_flag> locks_;  // "locked": one per feature, the last for the intercept
  std::optional<MergePlan> plan_;        // with replicas
  std::vector<Replica<Real>> replicas_;  // one per thread
  SharedWeights<Real> shared_;           // of the replicas
  std::optional<Delays> delays_;
};

}  // namespace dsgd
