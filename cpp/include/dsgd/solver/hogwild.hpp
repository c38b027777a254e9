// Hogwild!: parallel stochastic gradient descent without locks (Niu, Recht, Re, Wright 2011).
#pragma once

#include <cstddef>      // for size_t
#include <span>         // for span
#include <string_view>  // for string_view

#include "dsgd/objective/linear.hpp"
#include "dsgd/solver/epoch.hpp"

namespace dsgd {

/// One pass over the data by `n_threads` threads that share the weights. `write` is "racy", "atomic" or "locked" (see
/// atomic.hpp); throws Error(config) for another. With `merge_every` above 0 each of several racy
/// threads writes a replica of its own and merges it after so many samples (replica.hpp).
template <typename Data>
void hogwild_epoch(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights, const Epoch& epoch,
                   std::size_t n_threads, std::string_view write, std::size_t merge_every = 0);

}  // namespace dsgd
