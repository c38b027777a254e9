// The write policies. Threads read and write shared weights only through one of them.
//
//   Exclusive  plain loads and stores; for one thread.
//   Racy       relaxed loads and stores. An update may be lost when two threads write at the same
//              time; a value is never torn. This is Hogwild! (Niu, Recht, Re, Wright 2011) as it is
//              run in practice, without undefined behaviour.
//   Atomic     compare-and-swap. No update is ever lost, as the analysis of Hogwild! assumes.
//
// Every thread has a policy of its own. A policy offers `load(x)` and `update(x, f)`, which
// replaces x by f(x). Locks and turns for the step of a whole sample are in gate.hpp.
#pragma once

#include <atomic>  // for atomic_ref

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

}  // namespace detail

struct Exclusive : detail::PlainAccess {};

struct Racy : detail::RelaxedLoad {
  template <RealType Real, typename F>
  static void update(Real& x, F&& f) {
    const std::atomic_ref<Real> shared(x);
    shared.store(f(shared.load(std::memory_order_relaxed)), std::memory_order_relaxed);
  }
};

struct Atomic : detail::RelaxedLoad {
  template <RealType Real, typename F>
  static void update(Real& x, F&& f) {
    const std::atomic_ref<Real> shared(x);
    Real expected = shared.load(std::memory_order_relaxed);
    while (!shared.compare_exchange_weak(expected, f(expected), std::memory_order_relaxed)) {
    }
  }
};

}  // namespace dsgd
