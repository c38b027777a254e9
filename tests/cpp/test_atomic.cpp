#include <doctest/doctest.h>

#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/gate.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/data/csr.hpp"
#include "dsgd/data/dense.hpp"

using namespace dsgd;

namespace {
constexpr std::size_t kThreads = 4;
constexpr int kAdds = 20000;
}  // namespace

TEST_CASE_TEMPLATE("atomic: T threads times N adds sum exactly", Real, float, double) {
  Real total = 0;
  parallel_region(kThreads, [&](std::size_t) {
    for (int i = 0; i < kAdds; ++i) Atomic::update(total, [](Real x) { return x + 1; });
  });
  CHECK(total == static_cast<Real>(kThreads * kAdds));
}

TEST_CASE_TEMPLATE("locked: T threads times N adds to every variable of a sample sum exactly", Real, float, double) {
  std::vector<Real> weights(4, 0);  // three features and the intercept
  const std::vector<Real> values(3, 1);
  const DenseRow<Real> row(values);
  std::vector<std::atomic_flag> locks(weights.size());
  const Gate gate(locks, true);
  parallel_region(kThreads, [&](std::size_t) {
    for (int i = 0; i < kAdds; ++i) {
      const auto held = gate.hold(row);
      for (Real& w : weights) Racy::update(w, [](Real x) { return x + 1; });
    }
  });
  for (const Real w : weights) CHECK(w == static_cast<Real>(kThreads * kAdds));
}

TEST_CASE("locked: samples that share nothing but the intercept exclude one another") {
  std::vector<double> weights(kThreads + 1, 0);
  std::vector<std::atomic_flag> locks(weights.size());
  const Gate gate(locks, true);
  const std::vector<double> one{1};
  std::vector<std::vector<std::int32_t>> column(kThreads);
  parallel_region(kThreads, [&](std::size_t thread) {
    column[thread] = {static_cast<std::int32_t>(thread)};
    const SparseRow<double> row(column[thread], one);
    for (int i = 0; i < kAdds; ++i) {
      const auto held = gate.hold(row);
      Racy::update(weights.back(), [](double x) { return x + 1; });
    }
  });
  CHECK(weights.back() == static_cast<double>(kThreads * kAdds));
}

TEST_CASE("in turn: threads update one after the other, and one that has left is passed over") {
  std::vector<std::size_t> order;
  Cycle cycle(kThreads);
  concurrent_region(kThreads, [&](std::size_t thread) {
    const Gate gate(cycle, thread);
    const std::vector<double> one{1};
    for (std::size_t i = 0; i <= thread; ++i) {
      const auto held = gate.hold(DenseRow<double>(one));
      held.await_turn();
      order.push_back(thread);
    }
  });
  std::vector<std::size_t> expected;
  for (std::size_t round = 0; round < kThreads; ++round) {
    for (std::size_t thread = round; thread < kThreads; ++thread) expected.push_back(thread);
  }
  CHECK(order == expected);
}

TEST_CASE("racy: a value is never torn, and at most every concurrent update is lost") {
  // Each thread writes values whose upper and lower half agree; a torn read or write would mix two of them.
  double shared = std::bit_cast<double>(std::uint64_t{0});
  std::vector<int> torn(kThreads, 0);
  parallel_region(kThreads, [&](std::size_t thread) {
    for (std::uint32_t i = 1; i <= kAdds; ++i) {
      const std::uint64_t half = (i * kThreads + thread) & 0xfffffU;
      Racy::update(shared, [&](double old) {
        const auto bits = std::bit_cast<std::uint64_t>(old);
        if ((bits >> 32U) != (bits & 0xffffffffU)) ++torn[thread];
        return std::bit_cast<double>(half << 32U | half);
      });
    }
  });
  for (const int count : torn) CHECK(count == 0);

  double total = 0;
  parallel_region(kThreads, [&](std::size_t) {
    for (int i = 0; i < kAdds; ++i) Racy::update(total, [](double x) { return x + 1; });
  });
  CHECK(total >= 1);
  CHECK(total <= static_cast<double>(kThreads * kAdds));
  CHECK(total == static_cast<double>(static_cast<std::int64_t>(total)));
}

TEST_CASE("exclusive: one thread's adds sum exactly") {
  double total = 0;
  for (int i = 0; i < kAdds; ++i) Exclusive::update(total, [](double x) { return x + 1; });
  CHECK(total == kAdds);
}
