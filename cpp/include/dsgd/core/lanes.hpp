// Reductions into several independent partial results ("lanes"). No operation waits for the one
// before it, and the compiler keeps the lanes in vector registers.
#pragma once

#include <array>        // for array
#include <cstddef>      // for size_t
#include <cstdint>      // for uint32_t, uint64_t
#include <type_traits>  // for conditional_t

namespace dsgd {

/// The lanes of one reduction, which fill a cache line of 64 bytes. With this number of lanes GCC
/// vectorised every loop that uses them, under each of its cost models.
template <typename T>
using Lanes = std::array<T, 64 / sizeof(T)>;

/// The unsigned integer of the size of `T`.
template <typename T>
using BitsOf = std::conditional_t<sizeof(T) == sizeof(std::uint32_t), std::uint32_t, std::uint64_t>;

/// The right shift by which the sign bit of a `T` becomes 0 or 1.
template <typename T>
constexpr unsigned kSignBit = 8 * sizeof(T) - 1;

/// Calls `body(lane, k)` once for every k in [0, n). Lanes take turns, except that the last n %
/// n_lanes elements all go to lane 0: the compiler then knows every lane number.
template <std::size_t n_lanes, typename Body>
void for_lanes(std::size_t n, Body&& body) {
  std::size_t k = 0;
  for (; k + n_lanes <= n; k += n_lanes) {
    for (std::size_t lane = 0; lane < n_lanes; ++lane) body(lane, k + lane);
  }
  for (; k < n; ++k) body(std::size_t{0}, k);
}

}  // namespace dsgd
