// Mini-batch gradient descent. All threads work on the same batch.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t
#include <span>     // for span

#include "dsgd/objective/objective.hpp"
#include "dsgd/solver/averaging.hpp"
#include "dsgd/solver/epoch.hpp"

namespace dsgd {

/// One pass over the data in steps of `batch_size` rows. The rows that remain at the end make a
/// smaller step. `visited` is as in `sgd_epoch`. The same epoch of the same seed changes the
/// weights in the same way, bit for bit, on any number of threads. If `sum_loss`, returns the mean
/// loss of the samples, each at the weights before its step; otherwise 0. Throws Error(data) for
/// columns that are not sorted and distinct.
template <SampleObjective Objective>
double minibatch_epoch(const Objective& objective, std::span<typename Objective::Real> weights, const Epoch& epoch,
                       std::size_t batch_size, std::size_t n_threads, std::span<std::int64_t> visited,
                       const Average& average = {}, bool sum_loss = false);

/// The step that `minibatch_epoch` makes on the batch `rows` in its epoch `index`. The sum of the
/// gradients is divided by `batch_size`, even if there are fewer rows. Throws Error(config) for a
/// row number outside the data.
template <SampleObjective Objective>
void minibatch_step(const Objective& objective, std::span<typename Objective::Real> weights,
                    std::span<const std::int64_t> rows, double step, std::size_t batch_size, std::size_t index,
                    std::size_t n_threads);

}  // namespace dsgd
