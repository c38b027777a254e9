// The computations of a worker of a distributed algorithm, on rows that its program chooses.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t, uint64_t
#include <span>     // for span

#include "dsgd/objective/linear.hpp"

namespace dsgd {

/// Throws Error(config) unless every row number is in [0, n_rows).
void check_rows(std::span<const std::int64_t> rows, std::size_t n_rows);

/// Adds the sum over `rows` of s_i loss'(w.x_i + b, y_i) x_i to `gradient`. Throws Error(config)
/// for wrong sizes and for a row number outside the data.
template <typename Data>
void rows_gradient(const LinearObjective<Data>& objective, std::span<const typename Data::Real> weights,
                   std::span<const std::int64_t> rows, std::span<double> gradient);

/// Fills `out` with rows drawn from the whole data in blocks of `block_size` (Draws, sampler.hpp).
/// The random numbers come from RandomStream(seed, index, stream). Throws Error(config) if there
/// are no rows.
void draw_rows(std::size_t n_rows, std::size_t block_size, std::uint64_t seed, std::size_t index, std::size_t stream,
               std::span<std::int64_t> out);

}  // namespace dsgd
