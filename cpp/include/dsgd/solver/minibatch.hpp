// Mini-batch gradient descent, synchronous and parallel.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t
#include <span>     // for span

#include "dsgd/objective/objective.hpp"
#include "dsgd/solver/averaging.hpp"
#include "dsgd/solver/epoch.hpp"

namespace dsgd {

/// One pass over the data in steps of `batch_size` rows; what is left makes a smaller step. `visited` as for
/// `sgd_epoch`. The same epoch of the same seed changes the weights in the same way, bit for bit, on any number of
/// threads. Throws Error(data) for columns that are not sorted and distinct, and Error(config) for `sum_loss`: only
/// k-means sums the losses of mini-batches (kmeans.hpp). Returns 0.
template <SampleObjective Objective>
double minibatch_epoch(const Objective& objective, std::span<typename Objective::Real> weights, const Epoch& epoch,
                       std::size_t batch_size, std::size_t n_threads, std::span<std::int64_t> visited,
                       const Average& average = {}, bool sum_loss = false);

/// One step on the mean gradient of `rows`, of a batch of `batch_size`: the step that `minibatch_epoch` makes of them
/// in its epoch `index`. Throws Error(config) for a row that is not there.
template <SampleObjective Objective>
void minibatch_step(const Objective& objective, std::span<typename Objective::Real> weights,
                    std::span<const std::int64_t> rows, double step, std::size_t batch_size, std::size_t index,
                    std::size_t n_threads);

}  // namespace dsgd
