// Small data sets for the tests of the solvers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dsgd/core/random.hpp"
#include "dsgd/data/matrix.hpp"
#include "dsgd/objective/linear.hpp"

// What the solvers of this build are compiled for: element types, and sparse matrices of them.
#ifdef DSGD_FEW_KINDS
#define DSGD_REALS double
#define DSGD_SPARSE_KINDS CsrFloat64
#else
#define DSGD_REALS float, double
#define DSGD_SPARSE_KINDS CsrFloat32, CsrFloat64
#endif

namespace dsgd::testing {

/// Owns what a CsrView looks at.
struct SparseProblem {
  std::vector<std::int64_t> indptr{0};
  std::vector<std::int32_t> indices;
  std::vector<double> values;
  std::vector<double> y;
  std::size_t n_features = 0;

  [[nodiscard]] CsrView<double> view() const { return {indptr, indices, values, n_features, 1}; }

  /// The same matrix with its zeros, in C order.
  [[nodiscard]] std::vector<double> dense() const {
    std::vector<double> all(y.size() * n_features, 0);
    const auto X = view();
    for (std::size_t i = 0; i < y.size(); ++i) {
      const auto row = X.row(i);
      for (std::size_t k = 0; k < row.size(); ++k) all[i * n_features + row.index(k)] = row.value(k);
    }
    return all;
  }
};

/// Rows with about `density * n_features` entries in [-1, 1]; the label is the sign of the sum of the row.
inline SparseProblem random_problem(std::size_t n_rows, std::size_t n_features, double density, std::uint64_t seed) {
  SparseProblem problem;
  problem.n_features = n_features;
  RandomStream random(seed, 0, 0);
  const auto uniform = [&] { return static_cast<double>(random.next() >> 11U) * 0x1p-53; };
  for (std::size_t i = 0; i < n_rows; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < n_features; ++j) {
      if (uniform() >= density) continue;
      problem.indices.push_back(static_cast<std::int32_t>(j));
      problem.values.push_back(2 * uniform() - 1);
      sum += problem.values.back();
    }
    problem.indptr.push_back(static_cast<std::int64_t>(problem.indices.size()));
    problem.y.push_back(sum < 0 ? -1.0 : 1.0);
  }
  return problem;
}

/// Calls `check` with the objective of sparse random rows of an element type, and of the same rows with their zeros.
template <typename Real, typename Check>
void with_objectives(std::size_t n_rows, std::size_t n_features, const LinearConfig& config, const Check& check) {
  auto problem = random_problem(n_rows, n_features, 0.5, 3);
  for (double& y : problem.y) {
    if (config.loss.of_classes()) y = std::max(y, 0.0);  // the number of a class
  }
  const std::vector<double> zeros = problem.dense();
  const std::vector<Real> values(problem.values.begin(), problem.values.end());
  const std::vector<Real> dense(zeros.begin(), zeros.end());
  const std::vector<Real> y(problem.y.begin(), problem.y.end());
  const CsrView<Real> sparse(problem.indptr, problem.indices, values, n_features, 1);
  check(LinearObjective(sparse, std::span<const Real>(y), {}, config, 1));
  check(LinearObjective(DenseView<Real>(dense, n_rows, n_features, 1), std::span<const Real>(y), {}, config, 1));
}

}  // namespace dsgd::testing
