// The order in which an epoch visits the rows: every row once, without replacement.
#pragma once

#include <algorithm>  // for clamp, max, min
#include <cstddef>    // for size_t
#include <span>       // for span
#include <vector>     // for vector

#include "dsgd/core/random.hpp"

namespace dsgd {

/// The numbers k, k + T, k + 2T, ... of the blocks that thread k of T owns. A block is `block_size`
/// neighbouring rows.
inline std::vector<std::size_t> blocks_of(std::size_t n_rows, std::size_t block_size, std::size_t thread,
                                          std::size_t n_threads) {
  const std::size_t n_blocks = (n_rows + block_size - 1) / block_size;
  std::vector<std::size_t> blocks;
  blocks.reserve(n_blocks / n_threads + 1);
  for (std::size_t block = thread; block < n_blocks; block += n_threads) blocks.push_back(block);
  return blocks;
}

/// One thread's share of the rows in an epoch. Thread k of T owns the blocks k, k + T, k + 2T, ...,
/// so that data sorted by label is spread over all threads. It visits its blocks in a random order,
/// which its own random stream draws anew every epoch, and does not wait for other threads. Rows
/// inside a block are visited in memory order, which keeps the hardware prefetcher useful. Blocks
/// of one row give a permutation of the rows.
class Sampler {
 public:
  Sampler(std::size_t n_rows, std::size_t block_size, std::size_t thread, std::size_t n_threads, RandomStream random)
      : n_rows_(n_rows),
        block_size_(std::clamp<std::size_t>(block_size, 1, std::max<std::size_t>(n_rows, 1))),
        blocks_(blocks_of(n_rows, block_size_, thread, n_threads)) {
    shuffle(std::span(blocks_), random);
  }

  /// Calls `on_row(row)` for every row of the share, in its order.
  template <typename OnRow>
  void for_each(OnRow&& on_row) const {
    for (const std::size_t block : blocks_) {
      const std::size_t end = end_of(block);
      for (std::size_t row = block * block_size_; row < end; ++row) on_row(row);
    }
  }

  /// Prefetches the rows of the share in their order, some visits ahead, if X is larger than
  /// kCacheBytes: there blocks are read a tenth faster, while data in the cache would be read a
  /// tenth slower (docs/design/throughput.md). Does nothing after the last row.
  class Ahead {
   public:
    /// Begins at a position in the order of the blocks.
    template <typename Data>
    Ahead(const Sampler& sampler, const Data& X, std::size_t position)
        : sampler_(&sampler), position_(position), used_(X.bytes() >= kCacheBytes) {
      if (used_) prefetch(X, kEntriesAhead * X.rows() / std::max<std::size_t>(X.nonzeros(), 1) + 1);
    }

    [[nodiscard]] bool used() const { return used_; }

    template <typename Data>
    [[gnu::noinline]] void prefetch(const Data& X, std::size_t count) {
      for (; count > 0; --count) {
        while (row_ == end_) {
          if (position_ == sampler_->blocks_.size()) return;
          const std::size_t block = sampler_->blocks_[position_++];
          row_ = block * sampler_->block_size_;
          end_ = sampler_->end_of(block);
        }
        X.prefetch(row_++);
      }
    }

   private:
    const Sampler* sampler_;
    std::size_t position_;
    bool used_;
    std::size_t row_ = 0;
    std::size_t end_ = 0;
  };

  /// The same for the rows of X, with prefetches.
  template <typename Data, typename OnRow>
  [[gnu::always_inline]] void for_each(const Data& X, OnRow&& on_row) const {
    Ahead ahead(*this, X, 0);
    visit(X, 0, blocks_.size(), ahead, on_row);
  }

  /// The same for the blocks at positions [begin, end) of the order. kTogether rows are prefetched
  /// at once, so that the loop of prefetches is compiled once, apart from the visits.
  template <typename Data, typename OnRow>
  [[gnu::always_inline]] void visit(const Data& X, std::size_t begin, std::size_t end, Ahead& ahead,
                                    OnRow&& on_row) const {
    for (std::size_t position = begin; position < end; ++position) {
      const std::size_t past = end_of(blocks_[position]);
      for (std::size_t row = blocks_[position] * block_size_; row < past;) {
        const std::size_t stop = std::min(row + kTogether, past);
        if (ahead.used()) ahead.prefetch(X, stop - row);
        for (; row < stop; ++row) on_row(row);
      }
    }
  }

  /// The number of blocks, and of the rows of a block; the last block of all rows may have fewer.
  [[nodiscard]] std::size_t size() const { return blocks_.size(); }
  [[nodiscard]] std::size_t block_size() const { return block_size_; }

 private:
  static constexpr std::size_t kCacheBytes = std::size_t{1} << 25U;  // 32 MiB
  static constexpr std::size_t kEntriesAhead = 512;                  // entries
  static constexpr std::size_t kTogether = 8;                        // rows

  [[nodiscard]] std::size_t end_of(std::size_t block) const { return std::min(n_rows_, (block + 1) * block_size_); }

  std::size_t n_rows_;
  std::size_t block_size_;
  std::vector<std::size_t> blocks_;
};

/// One thread's share of the rows as an endless stream, from which a solver takes some rows at a
/// time. The stream is pass after pass over the share, each in a new random order.
class Draws {
 public:
  Draws(std::size_t n_rows, std::size_t block_size, std::size_t thread, std::size_t n_threads, RandomStream random)
      : n_rows_(n_rows),
        block_size_(std::clamp<std::size_t>(block_size, 1, std::max<std::size_t>(n_rows, 1))),
        blocks_(blocks_of(n_rows, block_size_, thread, n_threads)),
        next_(blocks_.size()),
        random_(random) {
    for (const std::size_t block : blocks_) size_ += end_of(block) - block * block_size_;
  }

  /// The number of rows of the share.
  [[nodiscard]] std::size_t size() const { return size_; }

  /// Calls `on_row(row)` for the next `count` rows; the share must not be empty.
  template <typename OnRow>
  void take(std::size_t count, OnRow&& on_row) {
    for (; count > 0; --count) {
      if (row_ == end_) begin_block();
      on_row(row_++);
    }
  }

 private:
  void begin_block() {
    if (next_ == blocks_.size()) {
      shuffle(std::span(blocks_), random_);
      next_ = 0;
    }
    row_ = blocks_[next_] * block_size_;
    end_ = end_of(blocks_[next_++]);
  }
  [[nodiscard]] std::size_t end_of(std::size_t block) const { return std::min(n_rows_, (block + 1) * block_size_); }

  std::size_t n_rows_;
  std::size_t block_size_;
  std::vector<std::size_t> blocks_;
  std::size_t size_ = 0;
  std::size_t next_;  // the block that comes next
  std::size_t row_ = 0;
  std::size_t end_ = 0;
  RandomStream random_;
};

}  // namespace dsgd
