// The gate that the step of a sample passes before it writes shared weights. It is open, or it
// makes the step wait, by one of the two baselines of Hogwild! (Niu, Recht, Re, Wright 2011,
// section 5):
//
//   locks   "AIG": the variables of a sample are locked while its step reads and updates them
//   turns   "RR": threads update in a fixed cyclic order; they may read at any time
#pragma once

#include <atomic>   // for atomic, atomic_flag
#include <cstddef>  // for size_t
#include <span>     // for span
#include <thread>   // for yield
#include <vector>   // for vector

namespace dsgd {

/// The turn to update, which passes from thread to thread in a cycle. All threads must run at the
/// same time: a thread that never takes its turn stops the others.
class Cycle {
 public:
  explicit Cycle(std::size_t n_threads) : left_(n_threads) {}

  void wait(std::size_t thread) const {
    // With more threads than cores, the thread that has the turn may be asleep: give it the core.
    while (now_.load(std::memory_order_acquire) != thread) std::this_thread::yield();
  }

  /// Gives the turn to the next thread that has not left.
  void pass(std::size_t thread) {
    std::size_t next = thread;
    do next = (next + 1) % left_.size();
    while (left_[next] && next != thread);
    now_.store(next, std::memory_order_release);
  }

  /// Takes `thread` out of the cycle for good. The thread must have the turn.
  void leave(std::size_t thread) {
    left_[thread] = 1;
    pass(thread);
  }

 private:
  std::atomic<std::size_t> now_{0};
  std::vector<char> left_;  // only the thread that has the turn reads or writes it
};

/// One thread's gate. Every sample branches on the kind of gate. The branch always goes the same
/// way, and costs less than a compiled sample loop for each kind.
class Gate {
 public:
  /// An open gate: a step never waits.
  Gate() = default;
  /// `locks`, which all threads share, holds one lock per feature and a last one for the intercept.
  /// `intercept` says whether the model has an intercept.
  Gate(std::span<std::atomic_flag> locks, bool intercept) : locks_(locks), intercept_(intercept) {}
  Gate(Cycle& cycle, std::size_t thread) : cycle_(&cycle), thread_(thread) {}
  ~Gate() {
    if (cycle_ == nullptr) return;
    cycle_->wait(thread_);
    cycle_->leave(thread_);
  }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  /// Holds the locks and the turn during the step of one sample.
  template <typename Row>
  class Hold {
   public:
    /// Takes the locks of the row's features in index order, so that two threads cannot deadlock.
    /// The columns of the row must therefore be sorted and distinct.
    Hold(const Gate& gate, const Row& row) : gate_(gate), row_(row) {
      if (!gate_.locks_.empty()) gate_.lock(row_);
    }
    ~Hold() {
      if (!gate_.locks_.empty()) gate_.unlock(row_);
      if (gate_.cycle_ != nullptr) gate_.cycle_->pass(gate_.thread_);
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

    /// Waits for the turn. Every step calls it once, between its read and its update.
    void await_turn() const {
      if (gate_.cycle_ != nullptr) gate_.cycle_->wait(gate_.thread_);
    }

   private:
    const Gate& gate_;
    Row row_;
  };

  template <typename Row>
  [[nodiscard]] Hold<Row> hold(const Row& row) const {
    return Hold<Row>(*this, row);
  }

 private:
  template <typename Row>
  void lock(const Row& row) const {
    for (std::size_t k = 0; k < row.size(); ++k) lock(locks_[row.index(k)]);
    if (intercept_) lock(locks_.back());
  }
  template <typename Row>
  void unlock(const Row& row) const {
    for (std::size_t k = 0; k < row.size(); ++k) locks_[row.index(k)].clear(std::memory_order_release);
    if (intercept_) locks_.back().clear(std::memory_order_release);
  }
  static void lock(std::atomic_flag& flag) {
    while (flag.test_and_set(std::memory_order_acquire)) {
      // With more threads than cores, the thread that holds the lock may be asleep: give it the
      // core.
      while (flag.test(std::memory_order_relaxed)) std::this_thread::yield();
    }
  }

  std::span<std::atomic_flag> locks_;
  bool intercept_ = false;
  Cycle* cycle_ = nullptr;
  std::size_t thread_ = 0;
};

}  // namespace dsgd
