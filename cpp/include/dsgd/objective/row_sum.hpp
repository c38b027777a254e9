// Sums of rows, each times a coefficient of its own: what full gradients and primal weights of a dual are made of.
#pragma once

#include <algorithm>  // for clamp
#include <cstddef>    // for size_t
#include <span>       // for span
#include <vector>     // for vector

#include "dsgd/core/parallel.hpp"

namespace dsgd {

/// out[j] <- scale * sum_i coefficient(i) x_ij; an element of `out` after those of the features gets the coefficients'
/// own sum. Each thread adds up its own rows in double precision, so that the result is the same for the same number
/// of threads.
template <typename Data, typename Coefficient>
void row_sum(const Data& X, std::size_t n_threads, double scale, std::span<double> out,
             const Coefficient& coefficient) {
  constexpr std::size_t kThreadRows = 256;  // worth a thread of its own, with its own copy of the sums
  constexpr std::size_t kBlock = 4096;
  const std::size_t threads = std::clamp<std::size_t>(X.rows() / kThreadRows, 1, n_threads);
  const bool intercept = out.size() > X.features();
  std::vector<std::vector<double>> partial(threads);
  parallel_region(threads, [&](std::size_t thread) {
    std::vector<double>& sum = partial[thread];
    sum.resize(out.size());
    const std::size_t end = X.rows() * (thread + 1) / threads;
    for (std::size_t i = X.rows() * thread / threads; i < end; ++i) {
      const auto x = X.row(i);
      const auto factor = static_cast<double>(coefficient(i, x));
      if (factor == 0) continue;
      for (std::size_t k = 0; k < x.size(); ++k) sum[x.index(k)] += factor * static_cast<double>(x.value(k));
      if (intercept) sum.back() += factor;
    }
  });
  parallel_blocks(out.size(), kBlock, n_threads, [&](std::size_t /*block*/, std::size_t begin, std::size_t end) {
    for (std::size_t j = begin; j < end; ++j) {
      double total = 0;
      for (const auto& sum : partial) total += sum[j];
      out[j] = total * scale;
    }
  });
}

}  // namespace dsgd
