// The arguments of an epoch that all stochastic solvers share.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t, uint64_t
#include <span>     // for span

#include "dsgd/core/error.hpp"
#include "dsgd/core/random.hpp"
#include "dsgd/solver/sampler.hpp"
#include "dsgd/solver/schedule.hpp"

namespace dsgd {

struct Epoch {
  std::size_t index;       // epochs finished before this one
  Schedule schedule;       // step sizes
  std::size_t block_size;  // rows visited in memory order; 1: a permutation of all rows
  std::uint64_t seed;
  std::size_t offset = 0;  // samples drawn before epoch 0, by earlier calls

  /// The number of a sample in the whole run, counted from 1; k counts the samples of this epoch
  /// from 0. A schedule is a function of it.
  [[nodiscard]] std::size_t t(std::size_t n_rows, std::size_t k) const { return offset + index * n_rows + k + 1; }

  [[nodiscard]] Sampler sampler(std::size_t n_rows, std::size_t thread, std::size_t n_threads) const {
    return {n_rows, block_size, thread, n_threads, RandomStream(seed, index, thread)};
  }
};

/// Checks `visited`, which receives the rows in the order of their visits. Throws Error(config)
/// unless it is empty or has one element for every row.
inline void check_visited(std::span<const std::int64_t> visited, std::size_t n_rows) {
  if (!visited.empty() && visited.size() != n_rows) {
    throw Error(ErrorCode::config, "visited must have one element for every row");
  }
}

}  // namespace dsgd
