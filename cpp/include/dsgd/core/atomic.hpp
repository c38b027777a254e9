// The only way to shared weights: four write policies.
//
//   Exclusive  plain loads and stores; for one thread.
//   Racy       relaxed load and store: an update may be lost when two threads meet, a value is never torn. This is
//              Hogwild! (Niu, Recht, Re, Wright 2011) as it is run in practice, without undefined behaviour.
//   Atomic     compare-and-swap: no update is ever lost, as the analysis of Hogwild! assumes.
//   Locked     every variable of a sample is locked round its read and update: the baseline "AIG" of the same paper.
//
// A policy offers `load(x)`, `update(x, f)` (x becomes f(x)) and `guard(row, intercept)`, held for one sample's step.
#pragma once

#include <atomic>   // for atomic_ref, atomic_flag
#include <cstddef>  // for size_t
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

struct Unguarded {
  struct Nothing {};
  template <typename Row>
  [[nodiscard]] static Nothing guard(const Row& /*row*/, bool /*intercept*/) {
    return {};
  }
};

}  // namespace detail

struct Exclusive : detail::PlainAccess, detail::Unguarded {};

struct Racy : detail::RelaxedLoad, detail::Unguarded {
  template <RealType Real, typename F>
  static void update(Real& x, F&& f) {
    const std::atomic_ref<Real> shared(x);
    shared.store(f(shared.load(std::memory_order_relaxed)), std::memory_order_relaxed);
  }
};

struct Atomic : detail::RelaxedLoad, detail::Unguarded {
  template <RealType Real, typename F>
  static void update(Real& x, F&& f) {
    const std::atomic_ref<Real> shared(x);
    Real expected = shared.load(std::memory_order_relaxed);
    while (!shared.compare_exchange_weak(expected, f(expected), std::memory_order_relaxed)) {
    }
  }
};

class Locked : public detail::PlainAccess {
 public:
  /// One lock a parameter; the last one is the intercept's.
  explicit Locked(std::size_t n_parameters) : locks_(n_parameters) {}

  /// Holds the locks of one row's features. They are taken in index order, so that two threads cannot deadlock;
  /// the columns of a row must therefore be sorted and distinct.
  template <typename Row>
  class Guard {
   public:
    Guard(std::vector<std::atomic_flag>& locks, const Row& row, bool intercept)
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

    std::vector<std::atomic_flag>& locks_;
    const Row& row_;
    bool intercept_;
  };

  template <typename Row>
  [[nodiscard]] Guard<Row> guard(const Row& row, bool intercept) {
    return Guard<Row>(locks_, row, intercept);
  }

 private:
  std::vector<std::atomic_flag> locks_;
};

}  // namespace dsgd
