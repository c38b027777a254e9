// What every epoch of a stochastic solver is given.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for uint64_t

#include "dsgd/core/random.hpp"
#include "dsgd/solver/sampler.hpp"
#include "dsgd/solver/schedule.hpp"

namespace dsgd {

struct Epoch {
  std::size_t index;       // epochs finished before this one
  Schedule schedule;       // step sizes
  std::size_t block_size;  // rows visited in memory order; 1 = a permutation of the rows
  std::uint64_t seed;

  [[nodiscard]] Sampler sampler(std::size_t n_rows, std::size_t thread, std::size_t n_threads) const {
    return {n_rows, block_size, thread, n_threads, RandomStream(seed, index, thread)};
  }
};

}  // namespace dsgd
