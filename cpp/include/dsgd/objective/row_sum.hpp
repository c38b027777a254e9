// Sums of rows, each times a coefficient of its own: what full gradients and primal weights of a dual are made of.
#pragma once

#include <algorithm>  // for clamp
#include <array>      // for array
#include <cstddef>    // for size_t
#include <span>       // for span
#include <vector>     // for vector

#include "dsgd/core/parallel.hpp"

namespace dsgd {

/// out <- scale * sum_i of what `add(i, x_i, sum)` adds to a sum of the size of `out`, each thread with an `add` of its
/// own from `make()`. Each adds up its own rows in double precision, so that the result is the same for the same number
/// of threads.
template <typename Data, typename Make>
void add_rows(const Data& X, std::size_t n_threads, double scale, std::span<double> out, const Make& make) {
  constexpr std::size_t kThreadRows = 256;  // worth a thread of its own, with its own copy of the sums
  constexpr std::size_t kBlock = 4096;
  const std::size_t threads = std::clamp<std::size_t>(X.rows() / kThreadRows, 1, n_threads);
  std::vector<std::vector<double>> partial(threads);
  parallel_region(threads, [&](std::size_t thread) {
    auto add = make();  // NOLINT(misc-const-correctness): some have numbers of their own
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

/// Adds coefficients[c] x_j to sum[j m + c] for all m coefficients, and those themselves after the features' elements
/// if there is room: feature-major, as the weights of a model with m decision values lie.
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

/// out[j] <- scale * sum_i coefficient(i, x_i) x_ij; an element of `out` after those of the features gets the
/// coefficients' own sum.
template <typename Data, typename Coefficient>
void row_sum(const Data& X, std::size_t n_threads, double scale, std::span<double> out,
             const Coefficient& coefficient) {
  add_rows(X, n_threads, scale, out, [&] {
    return [&](std::size_t i, const auto& x, std::span<double> sum) {
      const std::array factor{static_cast<double>(coefficient(i, x))};
      if (factor[0] != 0) add_row(x, std::span<const double>(factor), X.features(), sum);
    };
  });
}

}  // namespace dsgd
