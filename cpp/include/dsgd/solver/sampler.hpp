// The order in which an epoch visits the rows: every row once, without replacement.
#pragma once

#include <algorithm>  // for clamp, max, min
#include <cstddef>    // for size_t
#include <span>       // for span
#include <vector>     // for vector

#include "dsgd/core/random.hpp"

namespace dsgd {

/// The share of one thread. Rows are grouped into blocks of `block_size` neighbours; thread k of T owns the blocks k,
/// k + T, k + 2T, ... (so that data sorted by label is spread over all threads) and visits them in an order drawn
/// afresh every epoch from its own random stream, without waiting for the other threads. Blocks of one row make a
/// permutation of the rows; larger blocks, read in memory order inside, keep the hardware prefetcher at work.
class Sampler {
 public:
  Sampler(std::size_t n_rows, std::size_t block_size, std::size_t thread, std::size_t n_threads, RandomStream random)
      : n_rows_(n_rows), block_size_(std::clamp<std::size_t>(block_size, 1, std::max<std::size_t>(n_rows, 1))) {
    const std::size_t n_blocks = (n_rows + block_size_ - 1) / block_size_;
    blocks_.reserve(n_blocks / n_threads + 1);
    for (std::size_t block = thread; block < n_blocks; block += n_threads) blocks_.push_back(block);
    shuffle(std::span(blocks_), random);
  }

  /// Calls `visit(row)` for every row of the share, in order.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const std::size_t block : blocks_) {
      const std::size_t end = std::min(n_rows_, (block + 1) * block_size_);
      for (std::size_t row = block * block_size_; row < end; ++row) visit(row);
    }
  }

 private:
  std::size_t n_rows_;
  std::size_t block_size_;
  std::vector<std::size_t> blocks_;
};

}  // namespace dsgd
