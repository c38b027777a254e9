// The plan by which a replica merges its weights into the shared weights.
#pragma once

#include <algorithm>    // for max, min
#include <bit>          // for countr_zero
#include <cmath>        // for ldexp
#include <cstddef>      // for size_t
#include <limits>       // for numeric_limits
#include <type_traits>  // for remove_cvref_t
#include <vector>       // for vector

#include "dsgd/objective/objective.hpp"

namespace dsgd {

/// A weight is merged after a given number of visits that change it, so that frequent weights are
/// merged often and rare ones seldom. Merges then take the same share of the work on any data. If features are
/// numbered by falling frequency, the weights below edges[k] are merged every samples * 2^k
/// samples that change weights.
struct MergePlan {
  std::size_t samples = 1;         // samples of a thread that change weights, from one merge to the next
  std::vector<std::size_t> edges;  // numbers of weights, not decreasing; at least one
  std::size_t always;              // number of last weights in every merge: intercepts
  // Samples of a thread from one merge to the next, at most: a thread whose own samples change
  // nothing still needs the changes of the others.
  std::size_t most = std::numeric_limits<std::size_t>::max();

  /// The number of weights that merge `m` includes; m counts from 1.
  [[nodiscard]] std::size_t extent(std::size_t m) const {
    return edges[std::min<std::size_t>(static_cast<std::size_t>(std::countr_zero(m)), edges.size() - 1)];
  }
};

/// The plan that merges a weight after about `visits` of its visits. Weights with fewer visits in
/// an epoch are merged at its end. If features are not numbered by falling frequency, all are
/// merged together, after `visits` visits of the average feature.
template <SampleObjective Objective>
MergePlan plan_merges(const Objective& objective, std::size_t visits, std::size_t n_threads) {
  // A merge costs about 0.2 us even if it includes few weights. A sample costs about 10 ns, and 1
  // ns more per entry; dense rows are vectorised, eight entries at a time. A thread should work for
  // kWork ns between two merges, so that merges take about 5 % of the time.
  constexpr double kWork = 4096;      // ns of work from one merge to the next, at least
  constexpr double kSampleWork = 10;  // ns of a sample beside its entries
  constexpr double kLeast = 16;       // samples from one merge to the next, at least
  // Merges of a thread in an epoch, at least; with few rows kMerges prevails over kWork and kLeast.
  // Between merges threads do not see one another's changes, and such changes add up to steps that
  // are too long.
  constexpr double kMerges = 32;
  const auto& X = objective.X();
  constexpr bool kSparse = std::remove_cvref_t<decltype(X)>::kSparse;
  const std::size_t stride = objective.parameters_per_feature();
  const double entries = static_cast<double>(X.nonzeros()) / static_cast<double>(X.rows());
  // Samples of a thread in an epoch.
  const double share = static_cast<double>(X.rows()) / static_cast<double>(n_threads);
  const double worth = std::max(kLeast, kWork / (kSampleWork + (kSparse ? entries : entries / 8)));
  const double least = std::max(1.0, std::min(worth, share / kMerges));
  const auto wanted = static_cast<double>(visits);
  if (!objective.ordered()) {
    const double average = wanted * static_cast<double>(X.features()) / std::max(entries, 1.0);
    const double samples = std::max(least, average);
    return {static_cast<std::size_t>(samples),
            {X.features() * stride},
            stride,
            static_cast<std::size_t>(std::max(samples, share / kMerges))};
  }
  MergePlan plan{
      static_cast<std::size_t>(least), {}, stride, static_cast<std::size_t>(std::max(least, share / kMerges))};
  std::size_t edge = 0;
  for (int k = 0; std::ldexp(least, k) < 2 * share; ++k) {
    const double interval = std::ldexp(least, k);
    while (edge < X.features() && wanted * objective.inverse_frequency(edge) <= interval) ++edge;
    plan.edges.push_back(edge * stride);
  }
  if (plan.edges.empty()) plan.edges.push_back(X.features() * stride);
  return plan;
}

}  // namespace dsgd
