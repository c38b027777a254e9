// The only way to shared weights: the write policies.
//
//   Exclusive  plain loads and stores; for one thread.
//   Racy       relaxed load and store: an update may be lost when two threads meet, a value is never torn. This is
//              Hogwild! (Niu, Recht, Re, Wright 2011) as it is run in practice, without undefined behaviour.
//   Atomic     compare-and-swap: no update is ever lost, as the analysis of Hogwild! assumes.
//   Locked     every variable of a sample is locked round its read and update: the baseline "AIG" of the same paper.
//   InTurn     threads update in a fixed cyclic order, whatever they read meanwhile: its baseline "RR".
//
// A policy is one thread's. It offers `load(x)`, `update(x, f)` (x becomes f(x)), `guard(row, intercept)`, held for one
// sample's step, and `turn()`, held for its update.
#pragma once

#include <atomic>   // for atomic_ref, atomic_flag
#include <cstddef>  // for size_t
#include <span>     // for span
#include <thread>   // for yield
#include <vector>   // for vector

#include "dsgd/core/types.hpp"

namespace dsgd {

namespace detail {

struct PlainAccess {
  template <RealType Real>
  [[nodiscard]] static Real load(const Real& x) {
    return x;
  }
  template <RealType Real, typename F>
  static void update(Real& x, F&& f) {
    x = f(x);
  }
};

struct RelaxedLoad {
  /// C++20 has no atomic_ref to a const object; loading through it writes nothing.
  template <RealType Real>
  [[nodiscard]] static Real load(const Real& x) {
    return std::atomic_ref<Real>(const_cast<Real&>(x)).load(std::memory_order_relaxed);  // NOLINT
  }
};

struct Nothing {};

struct Unguarded {
  template <typename Row>
  [[nodiscard]] static Nothing guard(const Row& /*row*/, bool /*intercept*/) {
    return {};
  }
};

struct Unordered {
  [[nodiscard]] static Nothing turn() { return {}; }
};

}  // namespace detail

struct Exclusive : detail::PlainAccess, detail::Unguarded, detail::Unordered {};

struct RacyAccess : detail::RelaxedLoad {
  template <RealType Real, typename F>
  static void update(Real& x, F&& f) {
    const std::atomic_ref<Real> shared(x);
    shared.store(f(shared.load(std::memory_order_relaxed)), std::memory_order_relaxed);
  }
};

struct Racy : RacyAccess, detail::Unguarded, detail::Unordered {};

struct Atomic : detail::RelaxedLoad, detail::Unguarded, detail::Unordered {
  template <RealType Real, typename F>
  static void update(Real& x, F&& f) {
    const std::atomic_ref<Real> shared(x);
    Real expected = shared.load(std::memory_order_relaxed);
    while (!shared.compare_exchange_weak(expected, f(expected), std::memory_order_relaxed)) {
    }
  }
};

class Locked : public detail::PlainAccess, public detail::Unordered {
 public:
  /// One lock a parameter, shared by all threads; the last one is the intercept's.
  explicit Locked(std::span<std::atomic_flag> locks) : locks_(locks) {}

  /// Holds the locks of one row's features. They are taken in index order, so that two threads cannot deadlock;
  /// the columns of a row must therefore be sorted and distinct.
  template <typename Row>
  class Guard {
   public:
    Guard(std::span<std::atomic_flag> locks, const Row& row, bool intercept)
        : locks_(locks), row_(row), intercept_(intercept) {
      for (std::size_t k = 0; k < row_.size(); ++k) lock(locks_[row_.index(k)]);
      if (intercept_) lock(locks_.back());
    }
    ~Guard() {
      for (std::size_t k = 0; k < row_.size(); ++k) unlock(locks_[row_.index(k)]);
      if (intercept_) unlock(locks_.back());
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    static void lock(std::atomic_flag& flag) {
      while (flag.test_and_set(std::memory_order_acquire)) {
        // With more threads than cores the holder may be asleep: give it the core.
        while (flag.test(std::memory_order_relaxed)) std::this_thread::yield();
      }
    }
    static void unlock(std::atomic_flag& flag) { flag.clear(std::memory_order_release); }

    std::span<std::atomic_flag> locks_;
    Row row_;
    bool intercept_;
  };

  template <typename Row>
  [[nodiscard]] Guard<Row> guard(const Row& row, bool intercept) const {
    return Guard<Row>(locks_, row, intercept);
  }

 private:
  std::span<std::atomic_flag> locks_;
};

/// The order of InTurn, which all threads share. Each of them must be running: one that never comes stops the others.
class Cycle {
 public:
  explicit Cycle(std::size_t n_threads) : left_(n_threads) {}

  void wait(std::size_t thread) const {
    // With more threads than cores the one whose turn it is may be asleep: give it the core.
    while (now_.load(std::memory_order_acquire) != thread) std::this_thread::yield();
  }

  /// Gives the turn to the next thread that has not left.
  void pass(std::size_t thread) {
    std::size_t next = thread;
    do next = (next + 1) % left_.size();
    while (left_[next] && next != thread);
    now_.store(next, std::memory_order_release);
  }

  /// For good; `thread` must have the turn.
  void leave(std::size_t thread) {
    left_[thread] = 1;
    pass(thread);
  }

 private:
  std::atomic<std::size_t> now_{0};
  std::vector<char> left_;  // touched by the thread that has the turn alone
};

class InTurn : public RacyAccess, public detail::Unguarded {
 public:
  InTurn(Cycle& cycle, std::size_t thread) : cycle_(&cycle), thread_(thread) {}
  ~InTurn() {
    cycle_->wait(thread_);
    cycle_->leave(thread_);
  }
  InTurn(const InTurn&) = delete;
  InTurn& operator=(const InTurn&) = delete;

  class Turn {
   public:
    Turn(Cycle& cycle, std::size_t thread) : cycle_(cycle), thread_(thread) { cycle_.wait(thread_); }
    ~Turn() { cycle_.pass(thread_); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Cycle& cycle_;
    std::size_t thread_;
  };

  [[nodiscard]] Turn turn() const { return {*cycle_, thread_}; }

 private:
  Cycle* cycle_;
  std::size_t thread_;
};

}  // namespace dsgd
