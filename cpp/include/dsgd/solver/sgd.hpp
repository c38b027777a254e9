// Stochastic gradient descent on one thread.
#pragma once

#include <cstdint>  // for int64_t
#include <span>     // for span

#include "dsgd/objective/objective.hpp"
#include "dsgd/solver/averaging.hpp"
#include "dsgd/solver/epoch.hpp"

namespace dsgd {

/// One pass over the data. `visited`, if it is not empty, has one element per row and receives the
/// rows in the order of their visits. The same epoch of the same seed changes the weights in the
/// same way, bit for bit. If `sum_loss`, returns the mean loss of the samples, each at the weights
/// before its step; otherwise 0. This costs little; a separate pass for the loss would cost half an
/// epoch.
template <SampleObjective Objective>
double sgd_epoch(const Objective& objective, std::span<typename Objective::Real> weights, const Epoch& epoch,
                 std::span<std::int64_t> visited, const Average& average = {}, bool sum_loss = false);

}  // namespace dsgd
