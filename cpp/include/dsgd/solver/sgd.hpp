// Stochastic gradient descent on one thread.
#pragma once

#include <cstdint>  // for int64_t
#include <span>     // for span

#include "dsgd/objective/objective.hpp"
#include "dsgd/solver/averaging.hpp"
#include "dsgd/solver/epoch.hpp"

namespace dsgd {

/// One pass over the data. `visited`, when not empty, has one element a row and receives the rows in the order in which
/// they were visited. The same epoch of the same seed changes the weights in the same way, bit for bit. Returns the
/// mean loss of the samples as they were drawn, each at the weights before its step, if `sum_loss`: it costs little
/// where a pass of its own would cost half an epoch; else 0.
template <SampleObjective Objective>
double sgd_epoch(const Objective& objective, std::span<typename Objective::Real> weights, const Epoch& epoch,
                 std::span<std::int64_t> visited, const Average& average = {}, bool sum_loss = false);

}  // namespace dsgd
