// Stochastic gradient descent on rows that a worker program names.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t
#include <span>     // for span

#include "dsgd/objective/linear.hpp"

namespace dsgd {

/// One step on each of `rows` in turn, on one thread: the step that `sgd_epoch` makes in its epoch `index`. The same
/// rows in the same order with the same step sizes change the weights as the epoch does, bit for bit. `step_sizes` has
/// one element for all rows, or one for each. Throws Error(config) for a row that is not there and for wrong sizes.
template <typename Data>
void sgd_rows(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights,
              std::span<const std::int64_t> rows, std::span<const double> step_sizes, std::size_t index);

}  // namespace dsgd
