// Mini-batch gradient descent:
//
//   for every batch B:
//     g_i = s_i loss'(w.x_i + b, y_i) for all i in B, at the same w   threads divide the rows
//     w <- prox(w - step/|B| g_i x_i) for one i in B after another    threads divide the features
//
// All samples of a batch are evaluated before the first of them steps, as the mean gradient
// requires. Each applies its own share of the penalty (penalty.hpp), so that a batch changes only
// the support of its rows. When features are divided, every thread goes through the whole batch and
// writes only its own features: no weight is written by two threads, and the sums do not depend on
// the number of threads. |B| is the batch size even for the last batch of an epoch, which may have
// fewer rows: every row has the same weight.
#include "dsgd/solver/minibatch.hpp"

#include <algorithm>    // for clamp, max
#include <type_traits>  // for remove_cvref_t
#include <vector>       // for vector

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/objective/linear.hpp"
#include "dsgd/solver/rows.hpp"

namespace dsgd {
namespace {

/// The number of stored entries of a batch that is worth waking one thread more.
constexpr std::size_t kThreadEntries = 100'000;
/// An entry costs mostly its access to memory. With several decision values an entry has several
/// neighbouring weights; this number of weights costs as much as one entry.
constexpr std::size_t kWeightsOfAnEntry = 4;

/// Rows of a block, whose decision values a thread computes before it takes the next block.
constexpr std::size_t kBlockRows = 32;

template <SampleObjective Objective>
std::size_t useful_threads(const Objective& objective, std::size_t batch_size, std::size_t n_threads) {
  const auto& X = objective.X();
  const std::size_t entries = batch_size * (X.nonzeros() / std::max<std::size_t>(X.rows(), 1));
  const std::size_t cost = std::max<std::size_t>(objective.parameters_per_feature() / kWeightsOfAnEntry, 1);
  return std::clamp<std::size_t>(entries * cost / kThreadEntries, 1, n_threads);
}

/// Makes the steps of one call; they share the memory and the split of the features over the
/// threads.
template <SampleObjective Objective>
class BatchDescent {
 public:
  using Real = typename Objective::Real;

  BatchDescent(const Objective& objective, std::span<Real> weights, std::size_t batch_size, std::size_t n_threads,
               bool sum_loss = false)
      : objective_(objective),
        weights_(weights),
        size_(objective.residual_size()),
        threads_(useful_threads(objective, batch_size, n_threads)),
        edges_(objective.feature_ranges(threads_)),
        sum_loss_(sum_loss) {
    objective.check_weights(weights);
    if (!objective.X().canonical()) throw Error(ErrorCode::data, "mini-batches need sorted, distinct columns");
  }

  /// Makes a step of size `share` on every row of the batch. Row i applies the penalty if it is due
  /// at its phase in epoch `index`.
  template <typename Policy>
  void step(Policy& policy, std::span<const std::int64_t> batch, Real share, std::size_t index) {
    evaluate(batch);
    objective_.visit_descent([&](const SampleKernel auto& kernel) {
      parallel_region(threads_, [&](std::size_t thread) {
        const auto w = kernel.access(weights_, policy);
        const Features part{edges_[thread], edges_[thread + 1]};
        for (std::size_t k = 0; k < batch.size(); ++k) {
          const auto i = static_cast<std::size_t>(batch[k]);
          w.descend(i, of_sample(k), share, penalty_phase(i, index), part);
        }
      });
    });
  }

  /// The sum of the losses of all rows so far, each before its step, times its sample weight.
  [[nodiscard]] double losses() const { return losses_; }

 private:
  void evaluate(std::span<const std::int64_t> batch) {
    residuals_.resize(batch.size() * size_);
    if (sum_loss_) block_losses_.assign((batch.size() + kBlockRows - 1) / kBlockRows, 0.0);
    objective_.visit_evaluation([&](const SampleKernel auto& kernel) {
      parallel_blocks(batch.size(), kBlockRows, threads_, [&](std::size_t block, std::size_t begin, std::size_t end) {
        Exclusive policy;
        const auto w = kernel.access(std::span<const Real>(weights_), policy);
        for (std::size_t k = begin; k < end; ++k) {
          const auto i = static_cast<std::size_t>(batch[k]);
          const Real loss = w.evaluate(i, of_sample(k), sum_loss_);
          if (sum_loss_) block_losses_[block] += static_cast<double>(objective_.sample_weight(i) * loss);
        }
      });
    });
    // Summed in the order of the blocks, so that the sum does not depend on the number of threads.
    for (const double losses : block_losses_) losses_ += losses;
  }
  [[nodiscard]] std::span<Real> of_sample(std::size_t k) { return std::span(residuals_).subspan(k * size_, size_); }

  const Objective& objective_;
  std::span<Real> weights_;
  std::size_t size_;  // of a residual
  std::size_t threads_;
  std::vector<std::size_t> edges_;
  std::vector<Real> residuals_;
  bool sum_loss_;
  std::vector<double> block_losses_;  // of the batch
  double losses_ = 0;                 // of all batches so far
};

}  // namespace

template <SampleObjective Objective>
double minibatch_epoch(const Objective& objective, std::span<typename Objective::Real> weights, const Epoch& epoch,
                       std::size_t batch_size, std::size_t n_threads, std::span<std::int64_t> visited,
                       const Average& average, bool sum_loss) {
  using Real = typename Objective::Real;
  const auto& X = objective.X();
  check_visited(visited, X.rows());
  average.check(weights.size());
  batch_size = std::clamp<std::size_t>(batch_size, 1, X.rows());
  BatchDescent<Objective> batches(objective, weights, batch_size, n_threads, sum_loss);
  const StepSizes<Real> step_sizes(epoch.schedule, epoch.index);
  std::size_t done = 0;
  const auto run = [&](auto policy) {
    std::vector<std::int64_t> batch;
    const auto step = [&] {
      const Real share = step_sizes(epoch.t(X.rows(), done)) / static_cast<Real>(batch_size);
      batches.step(policy, batch, share, epoch.index);
      done += batch.size();
      batch.clear();
    };
    std::size_t position = 0;
    epoch.sampler(X.rows(), 0, 1).for_each([&](std::size_t i) {
      batch.push_back(static_cast<std::int64_t>(i));
      if (!visited.empty()) visited[position++] = batch.back();
      if (batch.size() == batch_size) step();
    });
    if (!batch.empty()) step();
  };
  if (average.drift.empty()) {
    run(Exclusive{});
  } else {
    run(Averaged<Real>(weights, average, done));
  }
  return batches.losses() / static_cast<double>(X.rows());
}

template <SampleObjective Objective>
void minibatch_step(const Objective& objective, std::span<typename Objective::Real> weights,
                    std::span<const std::int64_t> rows, double step, std::size_t batch_size, std::size_t index,
                    std::size_t n_threads) {
  using Real = typename Objective::Real;
  check_rows(rows, objective.X().rows());
  BatchDescent<Objective> batches(objective, weights, batch_size, n_threads);
  const Real share = static_cast<Real>(step) / static_cast<Real>(std::max<std::size_t>(batch_size, 1));
  Exclusive policy;
  batches.step(policy, rows, share, index);
}

#define DSGD_INSTANTIATE(Data)                                                                                     \
  template double minibatch_epoch(const LinearObjective<Data>&, std::span<Data::Real>, const Epoch&, std::size_t,  \
                                  std::size_t, std::span<std::int64_t>, const Average&, bool);                     \
  template void minibatch_step(const LinearObjective<Data>&, std::span<Data::Real>, std::span<const std::int64_t>, \
                               double, std::size_t, std::size_t, std::size_t);
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
