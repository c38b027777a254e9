// Features numbered by falling frequency, so that the weights of frequent ones lie together.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int32_t, int64_t
#include <span>     // for span

#include "dsgd/core/types.hpp"

namespace dsgd {

/// Writes the features in the order of their frequencies into `order`. Frequencies that differ by less than an eighth
/// pass for the same, and the same keep their order: that can be counted, and need not be sorted.
template <RealType Real>
void frequency_order(std::span<const Real> inverse_frequency, std::span<std::int64_t> order);

/// Whether `order` holds every number below `size` once.
[[nodiscard]] bool is_order(std::span<const std::int64_t> order, std::size_t size);

/// Writes the new number of every entry's feature into `out`, `order[r]` being the feature that is r from now on.
void renumber(std::span<const std::int32_t> indices, std::span<const std::int64_t> order, std::span<std::int32_t> out,
              std::size_t n_threads);

}  // namespace dsgd
