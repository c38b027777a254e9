#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "dsgd/core/error.hpp"
#include "dsgd/data/dense.hpp"
#include "dsgd/objective/quantisation.hpp"
#include "dsgd/solver/kmeans.hpp"
#include "problems.hpp"

using namespace dsgd;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Epoch epoch_of(std::size_t index) { return {index, Schedule{.step_size = 3, .power = 0.3}, 1, 7}; }

}  // namespace

TEST_CASE("error, nearest centres and gradient of k-means by hand") {
  const std::vector<double> values{0, 0, 2, 0, 9, 4};
  const DenseView<double> X(values, 3, 2, 1);
  const std::vector<double> s{1, 3, 2};
  const QuantisationObjective objective(X, s, 2);
  const std::vector<double> centres{1, 10, 0, 4};  // (1, 0) and (10, 4), feature by feature
  CHECK(objective.value(centres, 2) == doctest::Approx((1 * 1 + 3 * 1 + 2 * 1) / 6.0));
  std::vector<std::int32_t> nearest(3);
  objective.assign(centres, nearest, 1);
  CHECK(nearest == std::vector<std::int32_t>{0, 0, 1});
  std::vector<double> gradient(4);
  objective.loss_gradient(centres, gradient, 1);
  const std::vector<double> expected{(1 * 1 - 3 * 1) / 3.0, 2 * 1 / 3.0, 0, 0};
  for (std::size_t w = 0; w < 4; ++w) CHECK(gradient[w] == doctest::Approx(expected[w]));
}

TEST_CASE("mini-batches of k-means do not depend on the number of threads") {
  const auto problem = testing::random_problem(4000, 300, 0.2, 2);
  const QuantisationObjective objective(problem.view(), {}, 8);
  std::vector<double> one(objective.n_parameters());
  for (std::size_t w = 0; w < one.size(); ++w) one[w] = static_cast<double>(w % 7) / 10;
  std::vector<double> four = one;
  const double before = objective.value(one, 1);
  for (std::size_t index = 0; index < 3; ++index) {
    minibatch_epoch(objective, std::span(one), epoch_of(index), 2000, 1, {}, Average{}, false);
    minibatch_epoch(objective, std::span(four), epoch_of(index), 2000, 4, {}, Average{}, false);
  }
  CHECK(one == four);
  CHECK(objective.value(one, 2) < before);
  CHECK(objective.value(one, 1) == objective.value(one, 3));
}

TEST_CASE("a step of infinite size moves every centre to the mean of its rows, and leaves a centre without rows") {
  const std::vector<double> values{0, 0, 2, 0, 9, 4};
  const DenseView<double> X(values, 3, 2, 1);
  const std::vector<double> s{1, 3, 1e-300};
  const QuantisationObjective objective(X, s, 3);
  std::vector<double> centres{1, 10, 99, 0, 3, 99};  // (1, 0), (10, 3) and (99, 99), feature by feature
  const Epoch epoch{.index = 0, .schedule = {.step_size = kInfinity}, .block_size = 1, .seed = 7};
  minibatch_epoch(objective, std::span(centres), epoch, 3, 1, {}, Average{}, false);
  CHECK(centres == std::vector<double>{1.5, 9, 99, 0, 4, 99});
}

TEST_CASE("threads of k-means share the centres") {
  const auto problem = testing::random_problem(9000, 20, 0.5, 2);
  const QuantisationObjective objective(problem.view(), {}, 5);
  for (const std::string write : {"racy", "atomic"}) {
    std::vector<double> centres(objective.n_parameters());
    for (std::size_t w = 0; w < centres.size(); ++w) centres[w] = static_cast<double>(w % 7) / 10;
    const double before = objective.value(centres, 1);
    Hogwild solver(objective, {.n_threads = 4, .write = write, .sum_loss = true});
    double loss = 0;
    for (std::size_t index = 0; index < 3; ++index) loss = solver.epoch(centres, epoch_of(index));
    CHECK(objective.value(centres, 1) < before);
    CHECK(loss == doctest::Approx(objective.value(centres, 1)).epsilon(0.2));
  }
  CHECK_THROWS_AS(Hogwild(objective, {.n_threads = 2, .write = "locked"}), Error);
}

TEST_CASE("what k-means cannot be asked for") {
  const std::vector<double> values{1, 2};
  const DenseView<double> X(values, 2, 1, 1);
  CHECK_THROWS_AS(QuantisationObjective(X, {}, 0), Error);
  const std::vector<double> weight{1};
  CHECK_THROWS_AS(QuantisationObjective(X, std::span<const double>(weight), 1), Error);
  const QuantisationObjective objective(X, {}, 2);
  CHECK_THROWS_AS((void)objective.value(weight, 1), Error);
}
