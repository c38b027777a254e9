#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "dsgd/core/error.hpp"
#include "dsgd/data/dense.hpp"
#include "dsgd/data/squared_norms.hpp"
#include "problems.hpp"

using namespace dsgd;

TEST_CASE_TEMPLATE("a value that is not finite is found everywhere, and named", Real, float, double) {
  const std::size_t n_features = 37;
  std::vector<Real> values(3 * n_features, std::numeric_limits<Real>::max());
  const auto refusal = [&] {
    try {
      (void)DenseView<Real>(values, 3, n_features, 1);
      return std::string("accepted");
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  CHECK(refusal() == "accepted");
  for (std::size_t k = 0; k < values.size(); ++k) {
    const std::string entry = "X[" + std::to_string(k / n_features) + ", " + std::to_string(k % n_features) + "] is ";
    const Real sound = values[k];
    values[k] = std::numeric_limits<Real>::quiet_NaN();
    CHECK(refusal().starts_with(entry + "nan;"));
    values[k] = -std::numeric_limits<Real>::infinity();
    CHECK(refusal().starts_with(entry + "-inf;"));
    values[k] = sound;
  }
}

TEST_CASE_TEMPLATE("values that are not zero are counted, however small", Real, float, double) {
  const Real tiny = std::numeric_limits<Real>::denorm_min();
  for (std::size_t size = 0; size < 70; ++size) {
    std::vector<Real> values(size, Real{0});
    for (std::size_t k = 0; k < size; k += 2) values[k] = -Real{0};
    CHECK(count_nonzeros<Real>(values) == 0);
    for (std::size_t k = 0; k < size; k += 3) values[k] = k % 2 == 0 ? tiny : -tiny;
    CHECK(count_nonzeros<Real>(values) == (size + 2) / 3);
  }
}

TEST_CASE("squared norms are those by hand, on any number of threads") {
  const auto problem = testing::random_problem(1000, 30, 0.4, 3);
  const std::vector<double> dense = problem.dense();
  const auto X = problem.view();
  std::vector<double> expected(X.rows());
  for (std::size_t i = 0; i < X.rows(); ++i) {
    for (std::size_t j = 0; j < 30; ++j) expected[i] += dense[i * 30 + j] * dense[i * 30 + j];
  }
  std::vector<double> one(X.rows());
  std::vector<double> norms(X.rows());
  CHECK(squared_norms(X, one, 1) == X.nonzeros());
  CHECK(squared_norms(X, norms, 3) == X.nonzeros());
  CHECK(norms == one);
  CHECK(squared_norms(DenseView<double>(dense, X.rows(), 30, 1), norms, 2) == X.nonzeros());
  for (std::size_t i = 0; i < X.rows(); ++i) {
    CHECK(one[i] == doctest::Approx(expected[i]).epsilon(1e-14));
    CHECK(norms[i] == doctest::Approx(expected[i]).epsilon(1e-14));
  }
}
