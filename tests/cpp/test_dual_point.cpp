#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "dsgd/core/error.hpp"
#include "dsgd/solver/dual_point.hpp"
#include "dsgd/solver/sdca.hpp"
#include "problems.hpp"

using namespace dsgd;

namespace {

const std::string kLosses[] = {"hinge",   "squared_hinge", "modified_huber",      "logistic",
                               "squared", "huber",         "epsilon_insensitive", "squared_epsilon_insensitive"};

LinearConfig config_of(const std::string& loss, double alpha_l1, double alpha_l2, bool fit_intercept) {
  return {.loss = {loss, 0.1}, .alpha_l1 = alpha_l1, .alpha_l2 = alpha_l2, .fit_intercept = fit_intercept};
}

}  // namespace

TEST_CASE("the bound never falls, and is below the objective of any weights") {
  const auto problem = testing::random_problem(300, 20, 0.3, 4);
  for (const std::string& loss : kLosses) {
    for (const bool fit_intercept : {false, true}) {
      for (const auto& [alpha_l1, alpha_l2] : {std::pair{0.0, 0.01}, std::pair{0.003, 0.01}, std::pair{0.003, 0.0}}) {
        const LinearObjective<CsrFloat64> objective(problem.view(), problem.y, {},
                                                    config_of(loss, alpha_l1, alpha_l2, fit_intercept), 1);
        DualPoint point(objective, 2);
        double last = point.value();
        double least = objective.value(std::vector<double>(objective.n_parameters(), 0), 1);
        for (std::size_t k = 0; k < 20; ++k) {
          std::vector<double> weights(objective.n_parameters());
          for (std::size_t j = 0; j < weights.size(); ++j) weights[j] = 0.5 * std::sin(static_cast<double>(j * k));
          point.look(weights);
          least = std::min(least, objective.value(weights, 1));
          CHECK(point.value() >= last * (1 - 1e-14));
          last = point.value();
        }
        CAPTURE(loss);
        CHECK(last > 0);
        CHECK(last <= least);
      }
    }
  }
}

TEST_CASE("given the dual variables of a solver it proves what the solver proves, and the solver goes on from it") {
  const auto problem = testing::random_problem(300, 20, 0.3, 5);
  for (const std::string& loss : kLosses) {
    for (const bool fit_intercept : {false, true}) {
      const LinearObjective<CsrFloat64> objective(problem.view(), problem.y, {},
                                                  config_of(loss, 0, 0.01, fit_intercept), 1);
      Sdca solver(objective, {.n_threads = 1});
      std::vector<double> weights(objective.n_parameters(), 0);
      for (std::size_t e = 0; e < 10; ++e) {
        solver.epoch(weights, {.index = e, .schedule = {.step_size = 1}, .block_size = 1, .seed = 3}, false, {});
      }
      const double dual = solver.rebuild(weights);
      DualPoint point(objective, 1);
      point.look_at(solver.duals());
      CAPTURE(loss);
      CHECK(point.value() >= dual * (1 - 1e-12));
      Sdca other(objective, {.n_threads = 1});
      CHECK(other.begin(point.duals(), weights) == doctest::Approx(point.value()).epsilon(1e-12));
    }
  }
}

TEST_CASE("what proves nothing is refused") {
  const auto problem = testing::random_problem(10, 5, 0.5, 6);
  const LinearObjective<CsrFloat64> without(problem.view(), problem.y, {}, config_of("hinge", 0, 0, false), 1);
  CHECK_THROWS_AS(DualPoint(without, 1), Error);
  const LinearObjective<CsrFloat64> perceptron(problem.view(), problem.y, {}, config_of("perceptron", 0, 1, false), 1);
  CHECK_THROWS_AS(DualPoint(perceptron, 1), Error);
}
