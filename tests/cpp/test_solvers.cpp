#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "dsgd/data/renumber.hpp"
#include "dsgd/solver/hogwild.hpp"
#include "dsgd/solver/minibatch.hpp"
#include "dsgd/solver/sgd.hpp"
#include "dsgd/solver/svrg.hpp"
#include "problems.hpp"

using namespace dsgd;

namespace {

const LinearConfig kLogistic{.loss = {"logistic", 0}, .alpha_l1 = 0, .alpha_l2 = 1e-3, .fit_intercept = true};
// With L1 there is the degree split on one thread, too.
const LinearConfig kElastic{.loss = {"logistic", 0}, .alpha_l1 = 1e-4, .alpha_l2 = 1e-3, .fit_intercept = true};

Epoch epoch(std::size_t index, double step_size) {
  return {
      .index = index, .schedule = {.step_size = step_size, .decay = 0.9, .power = 0.1}, .block_size = 1, .seed = 42};
}

/// One epoch of Hogwild! on its own.
template <typename Data>
void hogwild_epoch(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights, const Epoch& epoch,
                   std::size_t n_threads, const std::string& write, std::size_t merge_visits = 0) {
  Hogwild<LinearObjective<Data>>(objective, {n_threads, write, merge_visits}).epoch(weights, epoch);
}

}  // namespace

TEST_CASE("Hogwild! on one thread is stochastic gradient descent, bit for bit, under every write policy") {
  const auto problem = testing::random_problem(500, 40, 0.2, 4);
  for (const auto& config : {kLogistic, kElastic}) {
    const LinearObjective objective(problem.view(), problem.y, {}, config, 1);
    std::vector<double> expected(objective.n_parameters(), 0);
    for (std::size_t e = 0; e < 3; ++e) sgd_epoch(objective, std::span(expected), epoch(e, 0.5), {});
    for (const char* write : {"racy", "atomic", "locked", "in-turn"}) {
      std::vector<double> weights(objective.n_parameters(), 0);
      for (std::size_t e = 0; e < 3; ++e) hogwild_epoch(objective, std::span(weights), epoch(e, 0.5), 1, write, 2);
      CHECK(weights == expected);
    }
  }
}

TEST_CASE("Hogwild! on several threads comes close to one thread's objective under every write policy") {
  const auto problem = testing::random_problem(4000, 60, 0.1, 5);
  const LinearObjective objective(problem.view(), problem.y, {}, kLogistic, 2);
  const auto train = [&](std::size_t threads, const char* write) {
    std::vector<double> weights(objective.n_parameters(), 0);
    Hogwild solver(objective, {threads, write});
    for (std::size_t e = 0; e < 10; ++e) solver.epoch(weights, epoch(e, 0.5));
    return objective.value(weights, 1);
  };
  const double start = objective.value(std::vector<double>(objective.n_parameters(), 0), 1);
  const double one = train(1, "racy");
  CHECK(one < 0.5 * start);
  for (const char* write : {"racy", "atomic", "locked", "in-turn"})
    CHECK(train(4, write) == doctest::Approx(one).epsilon(0.03));
}

TEST_CASE("no update is lost between copies that are merged, in turn or under atomic writes") {
  // Every step adds 2^-20 to both weights and to the intercept: no margin is ever met, and every sum is exact.
  constexpr std::size_t kRows = 5000;
  testing::SparseProblem problem;
  problem.n_features = 2;
  problem.y.assign(kRows, 1.0);
  problem.values.assign(2 * kRows, 1.0);
  for (std::size_t i = 0; i < kRows; ++i) {
    problem.indices.insert(problem.indices.end(), {0, 1});
    problem.indptr.push_back(static_cast<std::int64_t>(2 * i + 2));
  }
  const LinearObjective objective(problem.view(), problem.y, {},
                                  {.loss = {"hinge", 0}, .alpha_l1 = 0, .alpha_l2 = 0, .fit_intercept = true}, 1);
  const std::vector<double> expected(3, 2 * kRows * 0x1p-20);
  const auto train = [&](std::size_t threads, const char* write, std::size_t merge_visits) {
    std::vector<double> weights(3, 0);
    Hogwild solver(objective, {threads, write, merge_visits});
    for (std::size_t index = 0; index < 2; ++index) {
      solver.epoch(weights, {.index = index, .schedule = {.step_size = 0x1p-20}, .block_size = 7, .seed = 9});
    }
    return weights;
  };
  for (const std::size_t threads : {std::size_t{1}, std::size_t{2}, std::size_t{4}}) {
    CHECK(train(threads, "atomic", 0) == expected);
    CHECK(train(threads, "in-turn", 0) == expected);
    for (const std::size_t visits : {std::size_t{1}, std::size_t{10}, std::size_t{10000}}) {
      CHECK(train(threads, "racy", visits) == expected);
    }
  }
}

TEST_CASE("the threads share one count of samples, which the step size follows") {
  // Row i holds feature i alone, so no step meets another and each leaves its own size behind as the weight.
  constexpr std::size_t kRows = 120;
  testing::SparseProblem problem;
  problem.n_features = kRows;
  problem.y.assign(kRows, 1.0);
  problem.values.assign(kRows, 1.0);
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(kRows); ++i) {
    problem.indices.push_back(i);
    problem.indptr.push_back(i + 1);
  }
  const LinearObjective objective(problem.view(), problem.y, {},
                                  {.loss = {"squared", 0}, .alpha_l1 = 0, .alpha_l2 = 0, .fit_intercept = false}, 1);
  const Schedule schedule{.step_size = 0.5, .decay = 1, .power = 0.5};
  for (const std::size_t threads : {std::size_t{1}, std::size_t{2}, std::size_t{3}}) {
    for (std::size_t index = 0; index < 2; ++index) {
      std::vector<double> weights(kRows, 0);
      const Epoch current{.index = index, .schedule = schedule, .block_size = 1, .seed = 9};
      hogwild_epoch(objective, std::span(weights), current, threads, "racy");
      std::vector<double> merged(kRows, 0);
      hogwild_epoch(objective, std::span(merged), current, threads, "racy", 7);
      CHECK(merged == weights);
      std::sort(weights.rbegin(), weights.rend());
      for (std::size_t t = 1; t <= kRows; ++t) CHECK(weights[t - 1] == schedule.at(index * kRows + t, index));
    }
  }
}

TEST_CASE("features numbered by falling frequency give the same bits on one thread, in another order") {
  auto problem = testing::random_problem(600, 40, 0.1, 21);
  for (std::size_t k = 0; k < problem.indices.size(); k += 3) problem.indices[k] /= 4;  // some are frequent
  for (std::size_t i = 0; i + 1 < problem.indptr.size(); ++i) {
    const auto row = [&](std::size_t end) { return problem.indices.begin() + problem.indptr[end]; };
    std::sort(row(i), row(i + 1));
    for (auto k = row(i); k != row(i + 1); ++k) {  // distinct again
      if (k != row(i) && *k <= *(k - 1)) *k = *(k - 1) + 1;
    }
  }
  problem.n_features = 60;
  const LinearObjective objective(problem.view(), problem.y, {}, kLogistic, 1);
  std::vector<std::int64_t> order(60);
  frequency_order(objective.inverse_frequency(), std::span(order));
  std::vector<std::int32_t> columns(problem.indices.size());
  renumber(std::span<const std::int32_t>(problem.indices), std::span<const std::int64_t>(order), std::span(columns), 2);
  using Data = CsrView<double>;
  const LinearObjective<Data> other(objective, Data::trusted(problem.indptr, columns, problem.values, 60), order);
  CHECK(other.ordered());
  CHECK_FALSE(objective.ordered());
  for (std::size_t r = 1; r < 60; ++r) CHECK(other.inverse_frequency(r) > 0.88 * other.inverse_frequency(r - 1));
  std::vector<double> expected(61, 0);
  std::vector<double> weights(61, 0);
  hogwild_epoch(objective, std::span(expected), epoch(0, 0.5), 1, "racy");
  hogwild_epoch(other, std::span(weights), epoch(0, 0.5), 1, "racy");
  for (std::size_t r = 0; r < 60; ++r) CHECK(weights[r] == expected[static_cast<std::size_t>(order[r])]);
  CHECK(weights[60] == expected[60]);
}

TEST_CASE("delays: none on one thread, one record an update on several, more of it between merges") {
  const auto problem = testing::random_problem(3000, 20, 0.3, 23);
  const LinearObjective objective(problem.view(), problem.y, {}, kLogistic, 1);
  for (const std::size_t visits : {std::size_t{0}, std::size_t{50}}) {
    for (const std::size_t threads : {std::size_t{1}, std::size_t{3}}) {
      std::vector<double> weights(objective.n_parameters(), 0);
      Hogwild solver(objective, {threads, "racy", visits, true});
      for (std::size_t e = 0; e < 2; ++e) solver.epoch(weights, epoch(e, 0.5));
      const auto delays = solver.delays();
      CHECK(std::accumulate(delays.begin(), delays.end(), std::uint64_t{0}) == 6000);
      if (threads == 1) CHECK(delays.size() == 1);
    }
  }
  std::vector<double> weights(objective.n_parameters(), 0);
  Hogwild silent(objective, {2, "racy"});
  silent.epoch(weights, epoch(0, 0.5));
  CHECK(silent.delays().empty());
  // What others finish between a thread's read and its own end, in a known order.
  Delays delays(2);
  Delays::Thread one(delays, 0);
  Delays::Thread two(delays, 1);
  one.read();
  two.finish();
  two.finish();
  one.finish();  // overtaken by two
  one.finish();  // by the same two: it has not read again, but sees its own
  one.read();
  one.finish();
  CHECK(delays.histogram() == std::vector<std::uint64_t>{3, 0, 2});
}

TEST_CASE("mini-batches give the same bits on any number of threads, sparse or dense") {
  const auto problem = testing::random_problem(4000, 400, 0.5, 12);
  const std::vector<double> values = problem.dense();
  const LinearObjective sparse(problem.view(), problem.y, {}, kLogistic, 1);
  const LinearObjective dense(DenseView<double>(values, 4000, 400, 1), problem.y, {}, kLogistic, 1);
  const auto check = [](const auto& objective) {
    const auto train = [&](std::size_t threads) {
      std::vector<double> weights(401, 0);
      std::vector<double> drift(401, 0);
      for (std::size_t e = 0; e < 3; ++e) {  // batches of 400,000 entries and 800,000: worth four threads, and all
        minibatch_epoch(objective, std::span(weights), epoch(e, 5), 2000, threads, {}, {drift, 0});
      }
      weights.insert(weights.end(), drift.begin(), drift.end());
      return weights;
    };
    const std::vector<double> one = train(1);
    CHECK(std::abs(one[0]) > 0.01);
    CHECK(std::abs(one[400]) > 1e-3);
    for (const std::size_t threads : {std::size_t{2}, std::size_t{3}, std::size_t{7}}) CHECK(train(threads) == one);
  };
  check(sparse);
  check(dense);
}

TEST_CASE("mini-batches of one row are stochastic gradient descent, bit for bit where both split the penalty") {
  const auto problem = testing::random_problem(500, 40, 0.2, 4);
  for (const auto& config : {kElastic, kLogistic}) {
    const LinearObjective objective(problem.view(), problem.y, {}, config, 1);
    std::vector<double> sgd(41, 0);
    std::vector<double> weights(41, 0);
    for (std::size_t e = 0; e < 3; ++e) {
      sgd_epoch(objective, std::span(sgd), epoch(e, 0.5), {});
      minibatch_epoch(objective, std::span(weights), epoch(e, 0.5), 1, 2, {});
    }
    CHECK((weights == sgd) == (config.alpha_l1 > 0));
  }
}

TEST_CASE("ranges of features hold about as many entries each and all of them together") {
  const auto problem = testing::random_problem(1000, 50, 0.3, 3);
  const auto X = problem.view();
  const LinearObjective objective(X, problem.y, {}, kLogistic, 1);
  for (const std::size_t n_ranges : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{7}, std::size_t{80}}) {
    const auto edges = objective.feature_ranges(n_ranges);
    REQUIRE(edges.size() == n_ranges + 1);
    CHECK(edges.front() == 0);
    CHECK(edges.back() == 50);
    CHECK(std::is_sorted(edges.begin(), edges.end()));
    for (std::size_t range = 0; range < n_ranges; ++range) {
      std::size_t entries = 0;
      for (std::size_t i = 0; i < 1000; ++i) {
        const auto part = X.row(i).between(edges[range], edges[range + 1]);
        entries += part.size();
        for (std::size_t k = 0; k < part.size(); ++k) {
          CHECK(part.index(k) >= edges[range]);
          CHECK(part.index(k) < edges[range + 1]);
        }
      }
      CHECK(std::abs(static_cast<double>(entries) - static_cast<double>(problem.values.size() / n_ranges)) < 400);
    }
  }
}

TEST_CASE("the visiting order is recorded and is a permutation") {
  const auto problem = testing::random_problem(100, 5, 0.5, 6);
  const LinearObjective objective(problem.view(), problem.y, {}, kLogistic, 1);
  std::vector<double> weights(objective.n_parameters(), 0);
  std::vector<std::int64_t> visited(100, -1);
  sgd_epoch(objective, std::span(weights), epoch(0, 0.5), visited);
  CHECK_FALSE(std::is_sorted(visited.begin(), visited.end()));
  std::sort(visited.begin(), visited.end());
  for (std::size_t i = 0; i < 100; ++i) CHECK(visited[i] == static_cast<std::int64_t>(i));
}

TEST_CASE("the fixed point of the degree split is the l2 optimum") {
  // Logistic regression solved by full gradient descent, and by steps that shrink to nothing, on data whose feature
  // frequencies differ: with 1/p_j left out, or a frequency misplaced, the limit is another one.
  auto problem = testing::random_problem(60, 6, 0.9, 7);
  for (std::size_t k = 0; k < problem.indices.size(); ++k) {
    if (problem.indices[k] == 5 && k % 4 != 0) problem.values[k] = 0;
  }
  testing::SparseProblem sparse;  // zeros dropped: feature 5 is rare
  sparse.n_features = 6;
  sparse.y = problem.y;
  for (std::size_t i = 0; i < 60; ++i) {
    const auto row = problem.view().row(i);
    for (std::size_t k = 0; k < row.size(); ++k) {
      if (row.value(k) == 0) continue;
      sparse.indices.push_back(static_cast<std::int32_t>(row.index(k)));
      sparse.values.push_back(row.value(k));
    }
    sparse.indptr.push_back(static_cast<std::int64_t>(sparse.indices.size()));
  }
  const double alpha = 0.1;
  const LinearObjective objective(sparse.view(), sparse.y, {},
                                  {.loss = {"logistic", 0}, .alpha_l1 = 0, .alpha_l2 = alpha, .fit_intercept = true},
                                  1);
  std::vector<double> optimum(7, 0);
  for (int iteration = 0; iteration < 20000; ++iteration) {
    std::vector<double> gradient(7, 0);
    for (std::size_t i = 0; i < 60; ++i) {
      const auto x = sparse.view().row(i);
      double z = optimum[6];
      for (std::size_t k = 0; k < x.size(); ++k) z += optimum[x.index(k)] * x.value(k);
      const double g = Logistic::derivative(z, sparse.y[i]) / 60;
      for (std::size_t k = 0; k < x.size(); ++k) gradient[x.index(k)] += g * x.value(k);
      gradient[6] += g;
    }
    for (std::size_t j = 0; j < 6; ++j) optimum[j] -= 0.5 * (gradient[j] + alpha * optimum[j]);
    optimum[6] -= 0.5 * gradient[6];
  }
  std::vector<double> weights(7, 0);
  std::size_t index = 0;
  for (double step = 0.1; step > 2e-7; step /= 2) {
    const auto epochs = static_cast<std::size_t>(std::clamp(1 / (step * 60 * alpha), 5.0, 20000.0));
    for (std::size_t e = 0; e < epochs; ++e) {
      const Epoch current{
          .index = index++, .schedule = {.step_size = step, .decay = 1, .power = 0}, .block_size = 1, .seed = 1};
      sgd_epoch(objective, std::span(weights), current, {});
    }
  }
  for (std::size_t j = 0; j < 7; ++j) CHECK(weights[j] == doctest::Approx(optimum[j]).epsilon(1e-5));
}

TEST_CASE("SVRG has one limit on one thread and on two, in both forms") {
  const auto problem = testing::random_problem(2000, 30, 0.2, 9);
  const LinearObjective objective(problem.view(), problem.y, {}, kLogistic, 2);
  std::vector<double> optimum;
  for (const char* form : {"reweighted", "scalar"}) {
    for (const std::size_t threads : {std::size_t{1}, std::size_t{2}}) {
      Svrg solver(objective, {threads, form});
      std::vector<double> weights(objective.n_parameters(), 0);
      for (std::size_t e = 0; e < 30; ++e) {
        solver.begin(epoch(e, 1));
        solver.take_anchor(weights);
        solver.descend(weights, 0.1, 1500);
        solver.descend(weights, 0.1, 2500);
      }
      if (optimum.empty()) optimum = weights;
      for (std::size_t j = 0; j < weights.size(); ++j) CHECK(std::abs(weights[j] - optimum[j]) < 1e-9);
    }
  }
}

TEST_CASE("SVRG without an anchor is stochastic gradient descent") {
  const auto problem = testing::random_problem(200, 10, 0.5, 3);
  const LinearConfig config{.loss = {"logistic", 0}, .alpha_l1 = 1e-3, .alpha_l2 = 1e-3, .fit_intercept = true};
  const LinearObjective objective(problem.view(), problem.y, {}, config, 1);
  const Epoch whole{.index = 0, .schedule = {.step_size = 0.5}, .block_size = 1, .seed = 42};
  std::vector<double> expected(objective.n_parameters(), 0);
  std::vector<double> weights(objective.n_parameters(), 0);
  std::vector<std::int64_t> rows(200);
  std::vector<std::int64_t> visited(200);
  sgd_epoch(objective, std::span(expected), whole, rows);
  Svrg solver(objective, {1});
  solver.begin(whole);
  solver.descend(weights, 0.5, 200, visited);
  CHECK(visited == rows);
  for (std::size_t j = 0; j < weights.size(); ++j) CHECK(weights[j] == doctest::Approx(expected[j]).epsilon(1e-12));
}

TEST_CASE("wrong arguments are refused") {
  const auto problem = testing::random_problem(10, 3, 0.5, 8);
  const LinearObjective objective(problem.view(), problem.y, {}, kLogistic, 1);
  std::vector<double> weights(4, 0);
  std::vector<double> too_short(3, 0);
  std::vector<std::int64_t> visited(9);
  CHECK_THROWS_AS(sgd_epoch(objective, std::span(too_short), epoch(0, 1), {}), Error);
  CHECK_THROWS_AS(sgd_epoch(objective, std::span(weights), epoch(0, 1), visited), Error);
  CHECK_THROWS_AS(sgd_epoch(objective, std::span(weights), epoch(0, 1), {}, {too_short, 0}), Error);
  CHECK_THROWS_AS(minibatch_epoch(objective, std::span(too_short), epoch(0, 1), 2, 1, {}), Error);
  CHECK_THROWS_AS(minibatch_epoch(objective, std::span(weights), epoch(0, 1), 2, 1, visited), Error);
  CHECK_THROWS_AS(minibatch_epoch(objective, std::span(weights), epoch(0, 1), 2, 1, {}, {too_short, 0}), Error);
  CHECK_THROWS_AS(hogwild_epoch(objective, std::span(too_short), epoch(0, 1), 1, "racy"), Error);
  CHECK_THROWS_AS(hogwild_epoch(objective, std::span(weights), epoch(0, 1), 1, "careful"), Error);
  Svrg svrg(objective, {2});
  CHECK_THROWS_AS(svrg.descend(weights, 1, 10), Error);  // no epoch has begun
  svrg.begin(epoch(0, 1));
  CHECK_THROWS_AS(svrg.descend(too_short, 1, 10), Error);
  CHECK_THROWS_AS(svrg.descend(weights, 1, 9, visited), Error);  // of two threads
  CHECK_THROWS_AS(svrg.take_anchor(too_short), Error);
  CHECK_THROWS_AS(Svrg(objective, {1, "dense"}), Error);
  CHECK_THROWS_AS(Svrg(objective, {1, "scalar", 0.5}), Error);
  std::vector<double> gradient(4);
  CHECK_THROWS_AS(objective.loss_gradient(weights, gradient, 1, std::span(too_short)), Error);
}

TEST_CASE("duplicate columns are refused where they would do harm: a lock would wait for itself") {
  const std::vector<std::int64_t> indptr{0, 2};
  const std::vector<std::int32_t> indices{1, 1};
  const std::vector<double> values{1, 2};
  const std::vector<double> y{1};
  const LinearObjective objective(CsrView<double>(indptr, indices, values, 2, 1), y, {}, kLogistic, 1);
  std::vector<double> weights(3, 0);
  CHECK_THROWS_AS(hogwild_epoch(objective, std::span(weights), epoch(0, 1), 1, "locked"), Error);
  CHECK_THROWS_AS(minibatch_epoch(objective, std::span(weights), epoch(0, 1), 2, 1, {}), Error);
}
