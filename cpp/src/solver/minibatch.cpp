// Mini-batch gradient descent:
//
//   for every batch B:   g_i = s_i loss'(w.x_i + b, y_i) for all i in B, at the same w       the rows shared out
//                        w <- prox(w - step/|B| g_i x_i) for i in B in turn                  the features shared out
//
// The samples of a batch do not see one another's step, as in the mean gradient, and each brings its own share of the
// penalty (penalty.hpp), so that a step touches the support of the batch only. A thread owns some features and goes
// through the whole batch: nothing is written by two, and the sums do not depend on the number of threads. |B| is the
// batch size also where an epoch leaves fewer rows for its last batch: every row weighs the same.
#include "dsgd/solver/minibatch.hpp"

#include <algorithm>    // for clamp, max, min
#include <type_traits>  // for remove_cvref_t
#include <vector>       // for vector

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/objective/every.hpp"

namespace dsgd {
namespace {

/// Entries that are worth waking a thread for. What one costs is its way to memory and back; so many weights that it
/// touches side by side cost as much again.
constexpr std::size_t kThreadEntries = 100'000;
constexpr std::size_t kWeightsOfAnEntry = 4;

/// Rows whose decision values a thread computes before it asks for more.
constexpr std::size_t kBlockRows = 32;

template <SampleObjective Objective>
std::size_t useful_threads(const Objective& objective, std::size_t batch_size, std::size_t n_threads) {
  const auto& X = objective.X();
  const std::size_t entries = batch_size * (X.nonzeros() / std::max<std::size_t>(X.rows(), 1));
  const std::size_t cost = std::max<std::size_t>(objective.parameters_per_feature() / kWeightsOfAnEntry, 1);
  return std::clamp<std::size_t>(entries * cost / kThreadEntries, 1, n_threads);
}

}  // namespace

template <SampleObjective Objective>
void minibatch_epoch(const Objective& objective, std::span<typename Objective::Real> weights, const Epoch& epoch,
                     std::size_t batch_size, std::size_t n_threads, std::span<std::int64_t> visited,
                     const Average& average) {
  using Real = typename Objective::Real;
  const auto& X = objective.X();
  objective.check_weights(weights);
  check_visited(visited, X.rows());
  average.check(weights.size());
  if constexpr (std::remove_cvref_t<decltype(X)>::kSparse) {
    if (!X.canonical()) throw Error(ErrorCode::data, "mini-batches need sorted, distinct columns");
  }
  batch_size = std::clamp<std::size_t>(batch_size, 1, X.rows());
  const std::size_t threads = useful_threads(objective, batch_size, n_threads);
  const std::vector<std::size_t> edges = objective.feature_ranges(threads);
  const std::size_t size = objective.residual_size();
  objective.visit([&](const SampleKernel auto& kernel) {
    const EpochSteps<Real> steps(epoch.schedule, epoch.index);
    std::size_t done = 0;
    const auto run = [&](auto policy) {
      std::vector<std::size_t> batch;
      std::vector<Real> seen(batch_size * size);
      const auto step = [&] {
        const auto of_sample = [&](std::size_t k) { return std::span(seen).subspan(k * size, size); };
        parallel_blocks(batch.size(), kBlockRows, threads, [&](std::size_t, std::size_t begin, std::size_t end) {
          const auto w = kernel.steps(weights, policy);
          for (std::size_t k = begin; k < end; ++k) w.evaluate(batch[k], of_sample(k), false);
        });
        const Real share = steps(epoch.t(X.rows(), done)) / static_cast<Real>(batch_size);
        parallel_region(threads, [&](std::size_t thread) {
          const auto w = kernel.steps(weights, policy);
          const Features part{edges[thread], edges[thread + 1]};
          for (std::size_t k = 0; k < batch.size(); ++k) {
            w.descend(batch[k], of_sample(k), share, batch[k] + epoch.index, part);
          }
        });
        done += batch.size();
        batch.clear();
      };
      std::size_t position = 0;
      epoch.sampler(X.rows(), 0, 1).for_each([&](std::size_t i) {
        if (!visited.empty()) visited[position++] = static_cast<std::int64_t>(i);
        batch.push_back(i);
        if (batch.size() == batch_size) step();
      });
      if (!batch.empty()) step();
    };
    if (average.drift.empty()) {
      run(Exclusive{});
    } else {
      run(Averaged<Real>(weights, average, done));
    }
  });
}

#define DSGD_INSTANTIATE(Objective)                                                                                   \
  template void minibatch_epoch(const Objective&, std::span<Objective::Real>, const Epoch&, std::size_t, std::size_t, \
                                std::span<std::int64_t>, const Average&);
DSGD_FOR_EACH_SAMPLE_OBJECTIVE(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
