// The shares of the threads in an epoch, which go over to those that are done first.
#pragma once

#include <algorithm>  // for max, min
#include <atomic>     // for atomic, memory_order_*
#include <cstddef>    // for size_t
#include <memory>     // for make_unique, unique_ptr
#include <optional>   // for optional
#include <vector>     // for vector

#include "dsgd/solver/epoch.hpp"
#include "dsgd/solver/sampler.hpp"

namespace dsgd {

/// Every thread visits the rows of its own share (sampler.hpp). Cores are never equally fast, and a
/// thread whose share is done would wait for the others: a fifth of an epoch, measured on two cores
/// (docs/design/threads.md). So it goes on with blocks that another thread has not begun. Each row
/// is visited once, by whom is left to chance.
class Shares {
 public:
  /// `fixed`: every thread visits its own share and no other row.
  Shares(const Epoch& epoch, std::size_t n_rows, std::size_t n_threads, bool fixed = false)
      : epoch_(epoch), n_rows_(n_rows), fixed_(fixed), shares_(n_threads) {}

  /// Calls `on_row(row, t)` for rows of the thread's share, then for those that other threads leave;
  /// t is the number of the sample in the run (Epoch::t), if all threads are equally fast.
  template <typename Data, typename OnRow>
  [[gnu::always_inline]] void for_each(const Data& X, std::size_t thread, OnRow&& on_row) {
    Share* share = &begin(thread);
    std::optional<Sampler::Ahead> ahead;
    std::size_t expected = 0;
    do {
      const Sampler& order = *share->order;
      for (std::size_t from = take(*share); from < order.size(); from = take(*share)) {
        if (!ahead || from != expected) ahead.emplace(order, X, from);
        expected = std::min(from + share->at_once, order.size());
        std::size_t t = epoch_.t(n_rows_, share_of(*share) + from * order.block_size() * shares_.size());
        order.visit(X, from, expected, *ahead, [&](std::size_t row) {
          on_row(row, t);
          t += shares_.size();
        });
      }
      ahead.reset();
      share = fixed_ ? nullptr : fullest();
    } while (share != nullptr);
  }

 private:
  struct alignas(64) Share {               // no two threads write one cache line while each is in its own share
    std::unique_ptr<const Sampler> order;  // null until its thread begins
    std::size_t at_once = 1;               // blocks that are taken together
    std::atomic<std::size_t> next{0};
    std::atomic<bool> ready{false};
  };

  /// Rows that are taken together, at least: taking costs as much as a row.
  static constexpr std::size_t kRows = 64;

  Share& begin(std::size_t thread) {
    Share& own = shares_[thread];
    own.order = std::make_unique<const Sampler>(epoch_.sampler(n_rows_, thread, shares_.size()));
    // A share of few rows must not be taken at once, or nothing is left for the others.
    const std::size_t most = fixed_ ? own.order->size() : own.order->size() / kRows;
    own.at_once = std::max<std::size_t>(1, fixed_ ? most : std::min(most, kRows / own.order->block_size() + 1));
    own.ready.store(true, std::memory_order_release);
    return own;
  }

  static std::size_t take(Share& share) { return share.next.fetch_add(share.at_once, std::memory_order_relaxed); }

  [[nodiscard]] std::size_t share_of(const Share& share) const {
    return static_cast<std::size_t>(&share - shares_.data());
  }

  /// The share with the most blocks left, null if nothing is left. A share whose thread has not begun
  /// does not count: its thread will visit it.
  Share* fullest() {
    Share* found = nullptr;
    std::size_t most = 0;
    for (Share& share : shares_) {
      if (!share.ready.load(std::memory_order_acquire)) continue;
      const std::size_t next = share.next.load(std::memory_order_relaxed);
      const std::size_t left = share.order->size() - std::min(next, share.order->size());
      if (left > most) {
        most = left;
        found = &share;
      }
    }
    return found;
  }

  const Epoch& epoch_;
  std::size_t n_rows_;
  bool fixed_;
  std::vector<Share> shares_;
};

}  // namespace dsgd
