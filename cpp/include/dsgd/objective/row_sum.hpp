// Sums of rows, each multiplied by a coefficient of its own. Full gradients, and the primal weights
// of dual variables, are such sums.
#pragma once

#include <algorithm>  // for clamp
#include <array>      // for array
#include <cstddef>    // for size_t
#include <span>       // for span
#include <vector>     // for vector

#include "dsgd/core/parallel.hpp"

namespace dsgd {

/// Calls `add(i, x_i, sum)` for every row, which adds the contribution of row i to `sum`, and sets
/// out <- scale * sum. Every thread sums its own rows in double precision, with an `add` of its own
/// from `make(thread)`. The result is the same, bit for bit, for the same number of threads.
template <typename Data, typename Make>
void add_rows(const Data& X, std::size_t n_threads, double scale, std::span<double> out, const Make& make) {
  constexpr std::size_t kThreadRows = 256;  // rows that are worth a thread
  constexpr std::size_t kBlock = 4096;
  const std::size_t threads = std::clamp<std::size_t>(X.rows() / kThreadRows, 1, n_threads);
  std::vector<std::vector<double>> partial(threads);
  parallel_region(threads, [&](std::size_t thread) {
    auto add = make(thread);  // NOLINT(misc-const-correctness): some keep a state
    std::vector<double>& sum = partial[thread];
    sum.resize(out.size());
    const std::size_t end = X.rows() * (thread + 1) / threads;
    for (std::size_t i = X.rows() * thread / threads; i < end; ++i) add(i, X.row(i), std::span<double>(sum));
  });
  parallel_blocks(out.size(), kBlock, n_threads, [&](std::size_t /*block*/, std::size_t begin, std::size_t end) {
    for (std::size_t j = begin; j < end; ++j) {
      double total = 0;
      for (const auto& sum : partial) total += sum[j];
      out[j] = total * scale;
    }
  });
}

/// Adds coefficients[c] x_j to sum[j m + c], for all m coefficients and all features j. This is the
/// order of the weights of a model with m decision values. If `sum` has m more elements, for
/// intercepts, adds the coefficients themselves to these.
template <typename Row, typename Real>
void add_row(const Row& x, std::span<const Real> coefficients, std::size_t n_features, std::span<double> sum) {
  const std::size_t m = coefficients.size();
  for (std::size_t k = 0; k < x.size(); ++k) {
    const auto value = static_cast<double>(x.value(k));
    double* const of_feature = &sum[x.index(k) * m];
    for (std::size_t c = 0; c < m; ++c) of_feature[c] += static_cast<double>(coefficients[c]) * value;
  }
  if (sum.size() == n_features * m) return;
  for (std::size_t c = 0; c < m; ++c) sum[n_features * m + c] += static_cast<double>(coefficients[c]);
}

/// out[j] <- scale * sum_i coefficient(i, x_i) x_ij; if `out` has one element more than there are
/// features, it receives the sum of the coefficients.
template <typename Data, typename Coefficient>
void row_sum(const Data& X, std::size_t n_threads, double scale, std::span<double> out,
             const Coefficient& coefficient) {
  add_rows(X, n_threads, scale, out, [&](std::size_t /*thread*/) {
    return [&](std::size_t i, const auto& x, std::span<double> sum) {
      const std::array factor{static_cast<double>(coefficient(i, x))};
      if (factor[0] != 0) add_row(x, std::span<const double>(factor), X.features(), sum);
    };
  });
}

}  // namespace dsgd
