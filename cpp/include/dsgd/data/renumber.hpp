// Numbers features by falling frequency, so that the weights of frequent features lie together in
// memory.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int32_t, int64_t
#include <span>     // for span

#include "dsgd/core/types.hpp"
#include "dsgd/data/csr.hpp"

namespace dsgd {

/// Writes the features into `order`, by falling frequency. Frequencies that differ by less than an
/// eighth may count as equal, and features of equal frequency keep their order. A counting sort
/// into buckets therefore suffices.
template <RealType Real>
void frequency_order(std::span<const Real> inverse_frequency, std::span<std::int64_t> order);

/// `X` with its features renumbered: feature r of the result is feature order[r] of `X`. Writes the
/// new column of every entry into `columns`, which the result refers to. Throws Error(config)
/// unless `order` names every feature once.
template <RealType Real>
[[nodiscard]] CsrView<Real> renumbered(const CsrView<Real>& X, std::span<const std::int64_t> order,
                                       std::span<std::int32_t> columns, std::size_t n_threads);

/// Writes the new number of the feature of every entry into `out`. order[r] is the old number of
/// the feature whose new number is r.
void renumber(std::span<const std::int32_t> indices, std::span<const std::int64_t> order, std::span<std::int32_t> out,
              std::size_t n_threads);

}  // namespace dsgd
