// Replicas of the shared weights: when they are merged, and that they make the steps of one thread.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <type_traits>
#include <vector>

#include "dsgd/core/parallel.hpp"
#include "dsgd/solver/hogwild.hpp"
#include "dsgd/solver/replica.hpp"
#include "dsgd/solver/scaled_weights.hpp"
#include "problems.hpp"

using namespace dsgd;

namespace {

const LinearConfig kLogistic{.loss = {"logistic", 0}, .alpha_l1 = 0, .alpha_l2 = 1e-3, .fit_intercept = true};

Epoch epoch(std::size_t index, double step_size) {
  return {
      .index = index, .schedule = {.step_size = step_size, .decay = 0.9, .power = 0.1}, .block_size = 1, .seed = 42};
}

}  // namespace

TEST_CASE("frequent weights are merged often, rare ones seldom") {
  const MergePlan plan{10, {2, 5, 9}, 1};
  std::vector<std::size_t> extents;
  for (std::size_t m = 1; m <= 8; ++m) extents.push_back(plan.extent(m));
  CHECK(extents == std::vector<std::size_t>{2, 5, 2, 9, 2, 5, 2, 9});

  const auto problem = testing::random_problem(20000, 50, 0.02, 22);
  const LinearObjective unordered(problem.view(), problem.y, {}, kLogistic, 1);
  const MergePlan whole = plan_merges(unordered, 100, 2);
  CHECK(whole.edges == std::vector<std::size_t>{50});
  CHECK(whole.samples == doctest::Approx(100 / 0.02).epsilon(0.05));

  const auto few = testing::random_problem(128, 50, 0.02, 22);
  CHECK(plan_merges(LinearObjective(few.view(), few.y, {}, kLogistic, 1), 0, 2).samples == 2);  // 32 merges an epoch

  std::vector<std::int64_t> order(50);
  std::iota(order.begin(), order.end(), 0);
  const LinearObjective ordered(unordered, unordered.X(), order);
  const MergePlan tiers = plan_merges(ordered, 100, 2);
  std::size_t k = 0;
  while (tiers.edges[k] == 0) ++k;
  CHECK(tiers.edges.back() == 50);
  CHECK(static_cast<double>(tiers.samples << k) == doctest::Approx(100 / 0.02).epsilon(1));

  LinearConfig softmax = kLogistic;  // three weights a feature are merged together
  softmax.loss = {"softmax", 0, 3};
  const std::vector<double> classes(20000, 2.0);
  const MergePlan stretched = plan_merges(LinearObjective(problem.view(), classes, {}, softmax, 1), 100, 2);
  CHECK(stretched.edges == std::vector<std::size_t>{150});
  CHECK(stretched.samples == whole.samples);
  CHECK(stretched.always == 3);
}

TEST_CASE_TEMPLATE("replicas that are merged after every sample are one thread, however strong L2 is", Real,
                   DSGD_REALS) {
  // Two replicas take samples in turn, and merge all weights and the scale after each. Then no step is late.
  const auto problem = testing::random_problem(300, 20, 0.3, 25);
  const std::vector<Real> values(problem.values.begin(), problem.values.end());
  const std::vector<Real> y(problem.y.begin(), problem.y.end());
  const CsrView<Real> X(problem.indptr, problem.indices, values, 20, 1);
  for (const double alpha : {0.0, 1e-3, 0.5, 1e6, 1e300}) {  // from 0.5 on, 300 samples shrink weights below 2^-40
    LinearConfig config = kLogistic;
    config.alpha_l2 = alpha;
    const LinearObjective objective(X, y, {}, config, 1);
    const Real step = Real{0.5};
    std::vector<Real> expected(21, 1);
    std::vector<Real> weights(21, 1);
    SharedWeights<Real> shared;
    shared.begin(weights, 20);
    Replica<Real> replicas[2];
    for (auto& replica : replicas) replica.begin(shared);
    const MergePlan plan{1, {20}, 1, 1};
    objective.visit([&](const auto& kernel) {
      using Kernel = std::remove_cvref_t<decltype(kernel)>;
      if constexpr (kScales<Kernel>) {
        std::size_t done = 0;
        ScaledAccess<Kernel, false> alone(kernel, std::span(expected), Average{}, done);
        auto seen = kernel.residual();
        for (; done < 300; ++done) {
          auto& replica = replicas[done / 7 % 2];
          replica.advance(plan, true);  // takes what the other has done
          ReplicaAccess<Kernel> w(kernel, replica.weights(), replica);
          w.evaluate(done, seen, false);
          const bool changed = w.descend(done, seen, step, 0);
          CHECK(changed == (seen[0] != 0));
          CHECK(replica.advance(plan, changed));
          alone.evaluate(done, seen, false);
          alone.descend(done, seen, step, 0);
        }
      }
    });
    for (auto& replica : replicas) replica.finish();
    CHECK((shared.folds > 0) == (alpha >= 0.5));
    fold_scale(std::span(weights), true, shared.inverse);
    const double rounding = sizeof(Real) == sizeof(float) ? 1e-4 : 1e-12;
    for (std::size_t j = 0; j < 21; ++j) CHECK(std::abs(weights[j] - expected[j]) <= rounding);
  }
}

TEST_CASE("replicas of threads that run one after the other make the steps of plain stochastic gradient descent") {
  if (backend() != Backend::openmp) return;  // all threads of other backends run at once
  const auto problem = testing::random_problem(400, 30, 0.3, 26);
  const std::vector<double> x = problem.dense();
  for (const double alpha : {1e-3, 0.5}) {  // the second shrinks weights below 2^-40 in an epoch
    LinearConfig config = kLogistic;
    config.alpha_l2 = alpha;
    const LinearObjective objective(problem.view(), problem.y, {}, config, 1);
    std::vector<double> weights(31, 0);
    parallel_region(2, [&](std::size_t outer) {
      if (outer > 0) return;
      Hogwild solver(objective, {2, "racy", 3});  // in an inner region, which OpenMP grants one thread
      for (std::size_t e = 0; e < 3; ++e) solver.epoch(weights, epoch(e, 0.5));
    });
    std::vector<double> expected(31, 0);
    for (std::size_t e = 0; e < 3; ++e) {
      for (std::size_t thread = 0; thread < 2; ++thread) {
        std::size_t t = 400 * e + thread + 1;
        epoch(e, 0.5).sampler(400, thread, 2).for_each([&](std::size_t i) {
          const double step = epoch(e, 0.5).schedule.at(t, e);
          const double* row = x.data() + 30 * i;
          const double z = std::inner_product(row, row + 30, expected.begin(), expected[30]);
          const double change = -step * problem.y[i] / (1 + std::exp(problem.y[i] * z));
          for (std::size_t j = 0; j < 30; ++j) expected[j] = (expected[j] - change * row[j]) / (1 + step * alpha);
          expected[30] -= change;
          t += 2;
        });
      }
    }
    for (std::size_t j = 0; j < 31; ++j) CHECK(std::abs(weights[j] - expected[j]) <= 1e-12);
  }
}

TEST_CASE("a replica merges after samples that change weights, or after so many that change none") {
  std::vector<double> weights(3, 0);
  SharedWeights<double> shared;
  shared.begin(weights, 0);
  Replica<double> replica;
  replica.begin(shared);
  const MergePlan plan{2, {2}, 1, 5};
  std::vector<bool> merged;
  for (const bool changed : {true, true, true, false, true, false, false, false, false, false, true, false}) {
    merged.push_back(replica.advance(plan, changed));
  }
  CHECK(merged == std::vector<bool>{false, true, false, false, true, false, false, false, false, true, false, false});
}
