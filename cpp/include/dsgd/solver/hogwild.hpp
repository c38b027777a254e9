// Hogwild!: parallel stochastic gradient descent without locks (Niu, Recht, Re, Wright 2011).
#pragma once

#include <atomic>    // for atomic_flag
#include <cstddef>   // for size_t
#include <cstdint>   // for uint64_t
#include <mutex>     // for mutex
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

namespace dsgd {

struct HogwildConfig {
  std::size_t n_threads;
  std::string write = "racy";    // or "atomic" (atomic.hpp); "locked" or "in-turn": racy with a gate (gate.hpp)
  std::size_t merge_visits = 0;  // racy threads write replicas, merged after so many visits of a weight; 0: no replicas
  bool record_delay = false;
  bool sum_loss = false;
};

/// The solver, and the state that its threads keep from one epoch to the next. The objective of k-means has a
/// specialisation of its own (kmeans.hpp).
template <GradientObjective Objective>
class Hogwild {
  static_assert(SampleObjective<Objective>);

 public:
  using Real = typename Objective::Real;

  /// The objective must outlive the solver. Throws Error(config) for an unknown policy, and Error(data) for
  /// "locked" with columns that are not sorted and distinct.
  Hogwild(const Objective& objective, HogwildConfig config);

  /// One pass over the data by all threads. Returns the mean loss of the samples as they were drawn, each at the
  /// weights that its thread saw before its step, if `sum_loss`; else 0.
  double epoch(std::span<Real> weights, const Epoch& epoch);

  /// Updates by their delay (delay.hpp), over all epochs; empty unless recorded.
  [[nodiscard]] std::vector<std::uint64_t> delays() const;

 private:
  /// What one thread has beside its weights.
  struct Side {
    const Gate& gate;
    Replica<Real>* replica = nullptr;  // whose weights they are, if it is one
  };

  /// Both return the sum of the losses of the thread's samples, if `sum_loss`.
  template <typename Policy>
  double pass(std::span<Real> weights, const Epoch& epoch, std::size_t thread, Side side);
  double replicate(std::span<Real> weights, const Epoch& epoch, std::size_t thread);

  const Objective& objective_;
  HogwildConfig config_;
  std::vector<std::atomic_flag> locks_;  // "locked": one a feature
  std::optional<MergePlan> plan_;        // with replicas
  std::vector<Replica<Real>> replicas_;  // one a thread
  std::mutex merging_;
  std::optional<Delays> delays_;
};

}  // namespace dsgd
