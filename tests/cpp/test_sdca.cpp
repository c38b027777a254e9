#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "dsgd/solver/sdca.hpp"
#include "problems.hpp"

using namespace dsgd;

namespace {

constexpr double kAlpha = 1e-3;

Epoch epoch(std::size_t index) { return {.index = index, .schedule = {.step_size = 1}, .block_size = 1, .seed = 3}; }

LinearConfig config_of(const std::string& loss, bool fit_intercept = false) {
  return {.loss = {loss, 0.1}, .alpha_l1 = 0, .alpha_l2 = kAlpha, .fit_intercept = fit_intercept};
}

/// The rows of a problem, with weights of the samples, in either precision.
template <typename Real>
struct Sample {
  using Data = CsrView<Real>;
  testing::SparseProblem problem;
  std::vector<Real> values{problem.values.begin(), problem.values.end()};
  std::vector<Real> y{problem.y.begin(), problem.y.end()};
  std::vector<Real> importance;

  explicit Sample(testing::SparseProblem rows) : problem(std::move(rows)) {
    for (std::size_t i = 0; i < y.size(); ++i) importance.push_back(static_cast<Real>(i % 4) / 2);
  }
  [[nodiscard]] LinearObjective<Data> objective(const LinearConfig& config) const {
    return {Data(problem.indptr, problem.indices, values, problem.n_features, 1), y, importance, config, 1};
  }
};

/// sum_i s_i beta_i x_i / (alpha n), and its rounding in the dual variables' own precision.
template <typename Data>
std::vector<double> weights_of(const LinearObjective<Data>& objective, const Sdca<Data>& solver) {
  const Data& X = objective.X();
  std::vector<double> w(X.features(), 0);
  for (std::size_t i = 0; i < X.rows(); ++i) {
    const auto x = X.row(i);
    const double factor = static_cast<double>(objective.sample_weight(i)) * static_cast<double>(solver.duals()[i]) /
                          (kAlpha * static_cast<double>(X.rows()));
    for (std::size_t k = 0; k < x.size(); ++k) w[x.index(k)] += factor * static_cast<double>(x.value(k));
  }
  return w;
}

/// The largest difference of features' weights from others, in parts of the largest weight.
template <typename Real>
double distance(const std::vector<Real>& weights, const std::vector<double>& expected) {
  double most = 0;
  double size = 0;
  for (std::size_t j = 0; j < expected.size(); ++j) {
    most = std::max(most, std::abs(static_cast<double>(weights[j]) - expected[j]));
    size = std::max(size, std::abs(expected[j]));
  }
  REQUIRE(size > 0.1);
  return most / size;
}

const std::string kLosses[] = {"hinge",   "squared_hinge", "modified_huber",      "logistic",
                               "squared", "huber",         "epsilon_insensitive", "squared_epsilon_insensitive"};

}  // namespace

TEST_CASE_TEMPLATE("the weights are those of the dual variables, at every merge to rounding and rebuilt exactly", Real,
                   DSGD_REALS) {
  constexpr double kRounding = std::numeric_limits<Real>::epsilon();
  constexpr double kExact = std::is_same_v<Real, float> ? 1e-6 : 1e-12;
  const Sample<Real> sample(testing::random_problem(3000, 40, 0.2, 4));
  for (const std::string& loss : kLosses) {
    for (const bool fit_intercept : {false, true}) {
      const auto objective = sample.objective(config_of(loss, fit_intercept));
      for (const std::size_t threads : {std::size_t{1}, std::size_t{2}}) {
        Sdca solver(objective, {.n_threads = threads, .damping = static_cast<double>(threads), .max_rest = 4});
        std::vector<Real> weights(objective.n_parameters(), 0);
        for (std::size_t e = 0; e < 6; ++e) solver.epoch(weights, epoch(e), false, {});
        CAPTURE(loss);
        CAPTURE(threads);
        CHECK(distance(weights, weights_of(objective, solver)) < 500 * kRounding);  // of thousands of additions
        const double dual = solver.rebuild(weights);
        CHECK(distance(weights, weights_of(objective, solver)) < kExact);
        CHECK(dual <= objective.value(weights, 1) * (1 + kExact));
        std::vector<Real> again = weights;
        CHECK(solver.rebuild(again) == doctest::Approx(dual).epsilon(kExact));
        CHECK(distance(again, {weights.begin(), weights.begin() + 40}) < kExact);
      }
    }
  }
}

TEST_CASE("an epoch of exact steps never lowers the dual, nor one of careful steps") {
  const Sample<double> sample(testing::random_problem(400, 30, 0.2, 5));
  for (const std::string& loss : kLosses) {
    const auto objective = sample.objective(config_of(loss));
    for (const double damping : {1.0, 3.0}) {
      Sdca solver(objective, {.n_threads = 1, .damping = damping, .max_rest = 8});
      std::vector<double> weights(objective.n_parameters(), 0);
      double last = solver.rebuild(weights);
      for (std::size_t e = 0; e < 10; ++e) {
        solver.epoch(weights, epoch(e), false, {});
        const double dual = solver.rebuild(weights);
        CAPTURE(loss);
        CHECK(dual >= last - 1e-12);
        last = dual;
      }
      CHECK(last > 0);
    }
  }
}

TEST_CASE("with an intercept rebuilt dual variables have the sum zero, and bound the objective from below") {
  const Sample<double> sample(testing::random_problem(400, 30, 0.2, 6));
  for (const std::string& loss : kLosses) {
    const auto objective = sample.objective(config_of(loss, true));
    Sdca solver(objective, {.n_threads = 1});
    std::vector<double> weights(objective.n_parameters(), 0);
    for (std::size_t e = 0; e < 300; ++e) solver.epoch(weights, epoch(e), false, {});
    const double dual = solver.rebuild(weights);
    double sum = 0;
    for (std::size_t i = 0; i < 400; ++i) sum += objective.sample_weight(i) * solver.duals()[i];
    CAPTURE(loss);
    CHECK(sum == doctest::Approx(0).epsilon(1e-10));
    const double value = objective.value(weights, 1);
    CHECK(dual <= value * (1 + 1e-12));
    CHECK(dual > 0.98 * value);
  }
}

TEST_CASE("where no row meets another, the gap that an epoch measures is that before it") {
  testing::SparseProblem problem;
  problem.n_features = 50;
  for (std::int32_t i = 0; i < 50; ++i) {
    problem.indices.push_back(i);
    problem.indptr.push_back(i + 1);
    problem.values.push_back(0.1 * (i + 1));
    problem.y.push_back(i % 3 == 0 ? -1 : 1);
  }
  const Sample<double> sample(problem);
  for (const std::string& loss : kLosses) {
    const auto objective = sample.objective(config_of(loss));
    Sdca solver(objective, {.n_threads = 1, .damping = 4, .max_rest = 0});
    std::vector<double> weights(50, 0);
    for (std::size_t e = 0; e < 3; ++e) {
      const double dual = solver.rebuild(weights);
      const double gap = objective.value(weights, 1) - dual;
      CAPTURE(loss);
      CHECK(solver.epoch(weights, epoch(e), true, {}).gap == doctest::Approx(gap).epsilon(1e-9));
    }
    CHECK(solver.epoch(weights, epoch(3), false, {}).gap == 0);
  }
}

TEST_CASE("what changes nothing is left out for 1, 2, 4, ... epochs, until it is woken") {
  // A row of zeros with label 1 takes its only step, to 1, in the first epoch.
  testing::SparseProblem problem;
  problem.n_features = 1;
  problem.indptr = {0, 0};
  problem.y = {1};
  const LinearObjective objective(problem.view(), problem.y, {}, config_of("hinge"), 1);
  const auto visits = [&](std::size_t max_rest, std::size_t wake_before) {
    Sdca solver(objective, {.n_threads = 1, .max_rest = max_rest});
    std::vector<double> weights(1, 0);
    std::string pattern;
    for (std::size_t e = 0; e < 20; ++e) {
      if (e == wake_before) solver.wake();
      pattern += solver.epoch(weights, epoch(e), false, {}).visits == 1 ? 'x' : '.';
    }
    CHECK(solver.duals()[0] == 1);
    return pattern;
  };
  CHECK(visits(0, 99) == "xxxxxxxxxxxxxxxxxxxx");
  CHECK(visits(1, 99) == "xx.x.x.x.x.x.x.x.x.x");
  CHECK(visits(8, 99) == "xx.x..x....x........");
  CHECK(visits(8, 13) == "xx.x..x....x.x......");
}

TEST_CASE("the dual variables begin where the weights say, and make the weights theirs") {
  const Sample<double> sample(testing::random_problem(200, 10, 0.5, 7));
  const auto objective = sample.objective(config_of("logistic"));
  Sdca solver(objective, {.n_threads = 1});
  std::vector<double> weights(10, 0.25);
  const std::vector<double> start = weights;
  solver.begin(weights);
  for (std::size_t i = 0; i < 200; ++i) {
    const auto x = objective.X().row(i);
    double z = 0;
    for (std::size_t k = 0; k < x.size(); ++k) z += start[x.index(k)] * x.value(k);
    CHECK(solver.duals()[i] == doctest::Approx(-Logistic::derivative(z, objective.y()[i])).epsilon(1e-12));
  }
  CHECK(distance(weights, weights_of(objective, solver)) < 1e-12);
}

TEST_CASE("what has no dual to ascend is refused, and wrong sizes are") {
  const auto problem = testing::random_problem(20, 3, 0.5, 8);
  const auto sdca = [&](const LinearConfig& config) {
    const LinearObjective objective(problem.view(), problem.y, {}, config, 1);
    return Sdca(objective, {.n_threads = 1});
  };
  LinearConfig config = config_of("hinge");
  CHECK_NOTHROW(sdca(config));
  CHECK_THROWS_AS(sdca(config_of("perceptron")), Error);
  config.alpha_l1 = 0.1;
  CHECK_THROWS_AS(sdca(config), Error);
  config.alpha_l1 = config.alpha_l2 = 0;
  CHECK_THROWS_AS(sdca(config), Error);

  const LinearObjective objective(problem.view(), problem.y, {}, config_of("hinge"), 1);
  Sdca solver(objective, {.n_threads = 1});
  std::vector<double> weights(3, 0);
  std::vector<double> too_long(4, 0);
  std::vector<std::int64_t> visited(19);
  CHECK_THROWS_AS(solver.epoch(too_long, epoch(0), false, {}), Error);
  CHECK_THROWS_AS(solver.epoch(weights, epoch(0), false, visited), Error);
  CHECK_THROWS_AS(solver.begin(too_long), Error);
  CHECK_THROWS_AS(solver.rebuild(too_long), Error);
}
