// The scale of a matrix, by which step sizes are measured.
#pragma once

#include <cstddef>  // for size_t
#include <span>     // for span
#include <vector>   // for vector

#include "dsgd/core/parallel.hpp"

namespace dsgd {

/// Writes ||x_i||^2 for every row into `out`, of one element a row, and returns how many entries are not zero: the same
/// for a dense matrix and for its sparse twin. An exact reduction on any number of threads.
template <typename Data>
std::size_t squared_norms(const Data& X, std::span<double> out, std::size_t n_threads) {
  constexpr std::size_t kBlockRows = 4096;
  std::vector<std::size_t> counts((X.rows() + kBlockRows - 1) / kBlockRows);
  parallel_blocks(X.rows(), kBlockRows, n_threads, [&](std::size_t block, std::size_t begin, std::size_t end) {
    std::size_t count = 0;
    for (std::size_t i = begin; i < end; ++i) {
      const auto x = X.row(i);
      double sum = 0;
      for (std::size_t k = 0; k < x.size(); ++k) {
        const auto value = static_cast<double>(x.value(k));
        sum += value * value;
        count += value != 0 ? 1 : 0;
      }
      out[i] = sum;
    }
    counts[block] = count;
  });
  std::size_t total = 0;
  for (const std::size_t count : counts) total += count;
  return total;
}

}  // namespace dsgd
