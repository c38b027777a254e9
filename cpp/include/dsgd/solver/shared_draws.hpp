// The rows that several threads draw together, for loops that count the steps of all threads.
#pragma once

#include <algorithm>  // for clamp
#include <cstddef>    // for size_t
#include <vector>     // for vector

#include "dsgd/core/parallel.hpp"
#include "dsgd/core/random.hpp"
#include "dsgd/solver/epoch.hpp"
#include "dsgd/solver/sampler.hpp"

namespace dsgd {

/// One endless stream of rows per thread (`Draws`). Each thread has a share of the rows of its own.
class SharedDraws {
 public:
  /// No thread has rows.
  SharedDraws() = default;

  /// The streams of `epoch`, of at most `n_threads` threads: each of them has at least one block.
  SharedDraws(std::size_t n_rows, const Epoch& epoch, std::size_t n_threads) : n_rows_(n_rows) {
    const std::size_t n_blocks = n_rows / std::clamp<std::size_t>(epoch.block_size, 1, n_rows);
    const std::size_t threads = std::clamp<std::size_t>(n_blocks, 1, n_threads);
    for (std::size_t thread = 0; thread < threads; ++thread) {
      shares_.push_back(
          {Draws(n_rows, epoch.block_size, thread, threads, RandomStream(epoch.seed, epoch.index, thread))});
    }
  }

  [[nodiscard]] std::size_t n_threads() const { return shares_.size(); }

  /// Calls `body(thread, draws, n_steps)` on every thread, which then takes `n_steps` rows from
  /// `draws`. Divides `count` steps over the threads so that each thread's part of all steps so far
  /// is its part of the rows.
  template <typename Body>
  void share_out(std::size_t count, const Body& body) {
    n_steps_ += count;
    const std::size_t passes = n_steps_ / n_rows_;
    const std::size_t rest = n_steps_ % n_rows_;
    std::size_t owned = 0;
    std::vector<std::size_t> due;
    for (const Share& share : shares_) {
      const std::size_t before = rest * owned / n_rows_;
      owned += share.draws.size();
      due.push_back(passes * share.draws.size() + rest * owned / n_rows_ - before);
    }
    parallel_region(shares_.size(), [&](std::size_t thread) {
      Share& share = shares_[thread];
      const std::size_t n_steps = due[thread] > share.n_steps ? due[thread] - share.n_steps : 0;
      body(thread, share.draws, n_steps);
      share.n_steps += n_steps;
    });
  }

 private:
  struct Share {
    Draws draws;
    std::size_t n_steps = 0;  // steps of the thread so far
  };

  std::size_t n_rows_ = 0;
  std::size_t n_steps_ = 0;    // steps of all threads so far
  std::vector<Share> shares_;  // one per thread
};

}  // namespace dsgd
