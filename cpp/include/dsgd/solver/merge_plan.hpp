// When which weights of a replica are merged.
#pragma once

#include <algorithm>    // for max, min
#include <bit>          // for countr_zero
#include <cmath>        // for ldexp
#include <cstddef>      // for size_t
#include <type_traits>  // for remove_cvref_t
#include <vector>       // for vector

#include "dsgd/objective/objective.hpp"

namespace dsgd {

/// A weight that is visited often must be merged often, and a rare one need not be: merging each after so many of its
/// visits costs the same share of the work on any data. Where features are numbered by falling frequency, the weights
/// below edges[k] are merged every `samples * 2^k` samples.
struct MergePlan {
  std::size_t samples = 1;         // of this thread from one merge to the next
  std::vector<std::size_t> edges;  // not decreasing, at least one
  std::size_t always;              // weights at the end that every merge takes in: of an intercept, if there is one

  /// How many weights merge `m`, counted from 1, takes in.
  [[nodiscard]] std::size_t extent(std::size_t m) const {
    return edges[std::min<std::size_t>(static_cast<std::size_t>(std::countr_zero(m)), edges.size() - 1)];
  }
};

/// The plan for merging a weight after about `visits` of its visits. The rest of the weights, rare ones, are merged at
/// the end of the epoch; features in another order are merged all at once, after `visits` of the average one.
template <SampleObjective Objective>
MergePlan plan_merges(const Objective& objective, std::size_t visits, std::size_t n_threads) {
  // A merge costs some 0.2 us however little it takes in; a sample about 10 ns and 1 more for every entry, of which
  // vectors do eight at a time where the row is dense. Few rows need merges all the same: changes that threads make
  // without knowing of one another add up.
  constexpr double kWork = 4096, kSampleWork = 10, kLeast = 16, kMerges = 32;
  const auto& X = objective.X();
  constexpr bool kSparse = std::remove_cvref_t<decltype(X)>::kSparse;
  const std::size_t stride = objective.parameters_per_feature();
  const double entries = static_cast<double>(X.nonzeros()) / static_cast<double>(X.rows());
  const double share = static_cast<double>(X.rows()) / static_cast<double>(n_threads);  // samples of an epoch
  const double worth = std::max(kLeast, kWork / (kSampleWork + (kSparse ? entries : entries / 8)));
  const double least = std::max(1.0, std::min(worth, share / kMerges));
  const auto wanted = static_cast<double>(visits);
  if (!objective.ordered()) {
    const double average = wanted * static_cast<double>(X.features()) / std::max(entries, 1.0);
    return {static_cast<std::size_t>(std::max(least, average)), {X.features() * stride}, stride};
  }
  MergePlan plan{static_cast<std::size_t>(least), {}, stride};
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
