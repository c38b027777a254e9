#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "dsgd/objective/linear.hpp"
#include "problems.hpp"

using namespace dsgd;

TEST_CASE("the objective by hand") {
  const std::vector<double> values{1, 2, 3, 4};
  const DenseView<double> X(values, 2, 2, 1);
  const std::vector<double> y{1, -1};
  const LinearObjective objective(X, y, {},
                                  {.loss = {"hinge", 0}, .alpha_l1 = 0, .alpha_l2 = 0.5, .fit_intercept = true}, 1);
  const std::vector<double> weights{0.25, -0.5, 0.125};
  // z = (0.25 - 1 + 0.125, 0.75 - 2 + 0.125) = (-0.625, -1.125); hinge = (1.625, 0)
  CHECK(objective.value(weights, 1) == doctest::Approx(1.625 / 2 + 0.25 * (0.0625 + 0.25)));
}

TEST_CASE("sample weights and the l1 part by hand") {
  const std::vector<double> values{1, 2, 3, 4};
  const DenseView<double> X(values, 2, 2, 1);
  const std::vector<double> y{1, -1};
  const std::vector<double> s{2, 10};
  const LinearObjective objective(X, y, s,
                                  {.loss = {"hinge", 0}, .alpha_l1 = 2, .alpha_l2 = 0.5, .fit_intercept = true}, 1);
  const std::vector<double> weights{0.25, -0.5, 0.125};
  CHECK(objective.value(weights, 1) == doctest::Approx(2 * 1.625 / 2 + 2 * 0.75 + 0.25 * (0.0625 + 0.25)));
}

TEST_CASE("the value does not depend on the number of threads") {
  const auto problem = testing::random_problem(20000, 30, 0.3, 2);
  const LinearObjective objective(problem.view(), problem.y, {},
                                  {.loss = {"logistic", 0}, .alpha_l1 = 0, .alpha_l2 = 1e-3, .fit_intercept = false},
                                  3);
  const std::vector<double> weights(30, 0.3);
  const double one = objective.value(weights, 1);
  CHECK(objective.value(weights, 2) == one);
  CHECK(objective.value(weights, 7) == one);
}

TEST_CASE("decision values of sparse and dense rows") {
  const auto problem = testing::random_problem(50, 9, 0.5, 3);
  const std::vector<double> dense = problem.dense();
  const std::vector<double> weights{1, -2, 3, -4, 5, -6, 7, -8, 9, 0.5};
  std::vector<double> from_sparse(50);
  std::vector<double> from_dense(50);
  decision_function(problem.view(), weights, true, from_sparse, 2);
  decision_function(DenseView<double>(dense, 50, 9, 2), weights, true, from_dense, 2);
  for (std::size_t i = 0; i < 50; ++i) {
    double z = 0.5;
    for (std::size_t j = 0; j < 9; ++j) z += dense[i * 9 + j] * weights[j];
    CHECK(from_sparse[i] == doctest::Approx(z));
    CHECK(from_dense[i] == doctest::Approx(z));
  }
}

TEST_CASE("sizes and names are checked") {
  const std::vector<double> values{1, 2, 3, 4};
  const DenseView<double> X(values, 2, 2, 1);
  const std::vector<double> y{1, -1};
  const std::vector<double> short_y{1};
  const LinearConfig config{.loss = {"hinge", 0}, .alpha_l1 = 0, .alpha_l2 = 0, .fit_intercept = true};
  CHECK_THROWS_AS(LinearObjective(X, short_y, {}, config, 1), Error);
  CHECK_THROWS_AS(LinearObjective(X, y, {}, {.loss = {"x", 0}, .alpha_l1 = 0, .alpha_l2 = 0, .fit_intercept = true}, 1),
                  Error);
  CHECK_THROWS_AS(LinearObjective(X, y, short_y, config, 1), Error);
  const LinearObjective objective(X, y, {}, config, 1);
  CHECK_THROWS_AS((void)objective.value(std::vector<double>(2), 1), Error);
  std::vector<double> out(3);
  CHECK_THROWS_AS(decision_function(X, std::vector<double>(3), true, out, 1), Error);
  CHECK_THROWS_AS(decision_function(X, std::vector<double>(2), true, std::span(out).first(2), 1), Error);
}

TEST_CASE("an objective with other targets is the one built with them") {
  const auto problem = testing::random_problem(200, 12, 0.4, 4);
  const LinearConfig config{.loss = {"logistic", 0}, .alpha_l1 = 0, .alpha_l2 = 0.1, .fit_intercept = true};
  const std::vector<double> s(200, 0.5);
  std::vector<double> other(problem.y);
  for (double& target : other) target = -target;
  const std::vector<double> weights(13, 0.2);
  const LinearObjective first(problem.view(), problem.y, s, config, 2);
  const double before = first.value(weights, 1);
  const LinearObjective second = first.with_target(other);
  CHECK(second.value(weights, 1) == LinearObjective(problem.view(), other, s, config, 1).value(weights, 1));
  CHECK(second.value(weights, 1) != before);
  CHECK(second.feature_ranges(5) == first.feature_ranges(5));
  CHECK(first.value(weights, 1) == before);
  CHECK_THROWS_AS((void)first.with_target(std::span(other).first(199)), Error);
}

TEST_CASE_TEMPLATE("the penalty knows how often each feature occurs", Data, DSGD_SPARSE_KINDS) {
  using Real = typename Data::Real;
  std::vector<std::int64_t> indptr{0};
  std::vector<std::int32_t> indices;
  for (std::size_t i = 0; i < 3000; ++i) {  // columns 1, 3 and 4; every third row is empty
    if (i % 3 != 0) indices.insert(indices.end(), {1, 3, 4});
    indptr.push_back(static_cast<std::int64_t>(indices.size()));
  }
  const std::vector<Real> ones(indices.size(), Real{1});
  const std::vector<Real> y(3000, Real{1});
  const Data X(indptr, indices, ones, 6, 1);
  for (const std::size_t n_threads : {1U, 2U, 5U}) {
    const LinearObjective objective(X, std::span<const Real>(y), {},
                                    {.loss = {"hinge", 0}, .alpha_l1 = 0, .alpha_l2 = 0.25, .fit_intercept = false},
                                    n_threads);
    objective.visit([&](const auto& kernel) {
      kernel.penalty.with_prox(Real{1}, 1, [](const auto& prox) {
        for (const std::size_t j : {1U, 3U, 4U}) {  // visited by two rows of three
          CHECK(prox(j)(Real{1}) == doctest::Approx(1 / (1 + 0.25 * 1.5)));
        }
        for (const std::size_t j : {0U, 2U, 5U}) CHECK(prox(j)(Real{1}) == doctest::Approx(1 / (1 + 0.25 * 3000)));
      });
    });
  }
}
