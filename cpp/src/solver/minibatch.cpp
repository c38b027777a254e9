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

#include <algorithm>  // for clamp, max
#include <vector>     // for vector

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/objective/linear_weights.hpp"
#include "dsgd/solver/rows.hpp"

namespace dsgd {
namespace {

/// Entries that are worth waking a thread for.
constexpr std::size_t kThreadEntries = 100'000;

/// Rows whose decision values a thread computes before it asks for more.
constexpr std::size_t kBlockRows = 32;

template <typename Data>
std::size_t useful_threads(const Data& X, std::size_t batch_size, std::size_t n_threads) {
  const std::size_t entries = batch_size * (X.nonzeros() / std::max<std::size_t>(X.rows(), 1));
  return std::clamp<std::size_t>(entries / kThreadEntries, 1, n_threads);
}

/// The steps of one call, and what they share.
template <typename Data>
class BatchSteps {
 public:
  using Real = typename Data::Real;

  BatchSteps(const LinearObjective<Data>& objective, std::span<Real> weights, std::size_t batch_size,
             std::size_t n_threads)
      : objective_(objective),
        weights_(weights),
        threads_(useful_threads(objective.X(), batch_size, n_threads)),
        edges_(objective.feature_ranges(threads_)) {
    objective.check_weights(weights);
    if constexpr (Data::kSparse) {
      if (!objective.X().canonical()) throw Error(ErrorCode::data, "mini-batches need sorted, distinct columns");
    }
  }

  /// A step of the size `share` on every row of the batch; row i brings the penalty when its visit of epoch `index`
  /// does.
  template <typename Policy, typename Loss, typename Penalty, typename Row>
  void step(Policy& policy, const Loss& loss, const Penalty& penalty, std::span<const Row> batch, Real share,
            std::size_t index) {
    const bool fit_intercept = objective_.config().fit_intercept;
    const auto rate = static_cast<Real>(objective_.config().intercept_rate);
    gradient_.resize(batch.size());
    parallel_blocks(batch.size(), kBlockRows, threads_, [&](std::size_t, std::size_t begin, std::size_t end) {
      const LinearWeights<Real, Policy> w(weights_, fit_intercept, policy);
      for (std::size_t k = begin; k < end; ++k) {
        const auto i = static_cast<std::size_t>(batch[k]);
        gradient_[k] =
            objective_.sample_weight(i) * loss.derivative(w.decision(objective_.X().row(i)), objective_.y()[i]);
      }
    });
    parallel_region(threads_, [&](std::size_t thread) {
      const LinearWeights<Real, Policy> w(weights_, fit_intercept && thread == 0, policy);
      for (std::size_t k = 0; k < batch.size(); ++k) {
        const auto i = static_cast<std::size_t>(batch[k]);
        const auto x = objective_.X().row(i).between(edges_[thread], edges_[thread + 1]);
        w.descend(x, gradient_[k], share, rate, penalty, visit_number(i, index));
      }
    });
  }

 private:
  const LinearObjective<Data>& objective_;
  std::span<Real> weights_;
  std::size_t threads_;
  std::vector<std::size_t> edges_;
  std::vector<Real> gradient_;
};

}  // namespace

template <typename Data>
void minibatch_epoch(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights, const Epoch& epoch,
                     std::size_t batch_size, std::size_t n_threads, std::span<std::int64_t> visited,
                     const Average& average) {
  using Real = typename Data::Real;
  const Data& X = objective.X();
  check_visited(visited, X.rows());
  average.check(weights.size());
  batch_size = std::clamp<std::size_t>(batch_size, 1, X.rows());
  BatchSteps<Data> batches(objective, weights, batch_size, n_threads);
  objective.visit([&](auto loss, auto penalty) {
    const EpochSteps<Real> steps(epoch.schedule, epoch.index);
    std::size_t done = 0;
    const auto run = [&](auto policy) {
      std::vector<std::size_t> batch;
      const auto step = [&] {
        const Real share = steps(epoch.t(X.rows(), done)) / static_cast<Real>(batch_size);
        batches.step(policy, loss, penalty, std::span<const std::size_t>(batch), share, epoch.index);
        done += batch.size();
        batch.clear();
      };
      std::size_t seen = 0;
      epoch.sampler(X.rows(), 0, 1).for_each([&](std::size_t i) {
        if (!visited.empty()) visited[seen++] = static_cast<std::int64_t>(i);
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

template <typename Data>
void minibatch_step(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights,
                    std::span<const std::int64_t> rows, double step, std::size_t batch_size, std::size_t index,
                    std::size_t n_threads) {
  using Real = typename Data::Real;
  check_rows(rows, objective.X().rows());
  BatchSteps<Data> batches(objective, weights, batch_size, n_threads);
  const Real share = static_cast<Real>(step) / static_cast<Real>(std::max<std::size_t>(batch_size, 1));
  objective.visit([&](auto loss, auto penalty) {
    Exclusive policy;
    batches.step(policy, loss, penalty, rows, share, index);
  });
}

#define DSGD_INSTANTIATE(Data)                                                                                     \
  template void minibatch_epoch(const LinearObjective<Data>&, std::span<Data::Real>, const Epoch&, std::size_t,    \
                                std::size_t, std::span<std::int64_t>, const Average&);                             \
  template void minibatch_step(const LinearObjective<Data>&, std::span<Data::Real>, std::span<const std::int64_t>, \
                               double, std::size_t, std::size_t, std::size_t);
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
