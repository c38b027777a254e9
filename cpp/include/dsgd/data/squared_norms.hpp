// The squared norms of the rows of a matrix, to which default step sizes are relative.
#pragma once

#include <algorithm>  // for min
#include <bit>        // for bit_cast
#include <cmath>      // for abs
#include <cstddef>    // for size_t
#include <numeric>    // for accumulate
#include <span>       // for span
#include <vector>     // for vector

#include "dsgd/core/error.hpp"
#include "dsgd/core/lanes.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/core/types.hpp"

namespace dsgd {

/// ||x||^2 in double precision, by four partial sums, so that an addition need not wait for the one
/// before it.
template <typename Row>
[[nodiscard]] double squared_norm(const Row& x) {
  double sum[4] = {0, 0, 0, 0};
  for_lanes<4>(x.size(), [&](std::size_t lane, std::size_t k) {
    const auto value = static_cast<double>(x.value(k));
    sum[lane] += value * value;
  });
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/// The number of values that are not zero. The bits of |x|, as an integer, are 0 only for x = 0, so
/// that the sign bit of their negative is 1 for every other x. GCC does not vectorise comparisons
/// of doubles.
template <RealType Real>
[[nodiscard]] std::size_t count_nonzeros(std::span<const Real> values) {
  using Bits = BitsOf<Real>;
  constexpr std::size_t kPart = std::size_t{1} << 30U;  // values; a lane of 32 bits can count them
  std::size_t total = 0;
  for (std::size_t begin = 0; begin < values.size(); begin += kPart) {
    const auto part = values.subspan(begin, std::min(kPart, values.size() - begin));
    Lanes<Bits> count{};
    for_lanes<count.size()>(part.size(), [&](std::size_t lane, std::size_t k) {
      count[lane] += (Bits{0} - std::bit_cast<Bits>(std::abs(part[k]))) >> kSignBit<Real>;
    });
    total = std::accumulate(count.begin(), count.end(), total);
  }
  return total;
}

/// Writes ||x_i||^2 of every row into `out` and returns the number of entries that are not zero,
/// which is the same for a dense matrix and for the same matrix in sparse form. The result does not
/// depend on the number of threads. Throws Error(config) unless `out` has one element for every
/// row.
template <typename Data>
std::size_t squared_norms(const Data& X, std::span<double> out, std::size_t n_threads) {
  if (out.size() != X.rows()) throw Error(ErrorCode::config, "out must have one element for every row");
  constexpr std::size_t kBlockRows = 256;
  std::vector<std::size_t> counts((X.rows() + kBlockRows - 1) / kBlockRows);
  parallel_blocks(X.rows(), kBlockRows, n_threads, [&](std::size_t block, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) out[i] = squared_norm(X.row(i));
    counts[block] = count_nonzeros(X.values(begin, end));  // a second pass, in the cache
  });
  return std::accumulate(counts.begin(), counts.end(), std::size_t{0});
}

}  // namespace dsgd
