// Reductions that do not wait: several partial results side by side, which the compiler keeps in vector registers.
#pragma once

#include <array>        // for array
#include <cstddef>      // for size_t
#include <cstdint>      // for uint32_t, uint64_t
#include <type_traits>  // for conditional_t

namespace dsgd {

/// Partial results, one cache line of them: with as many, GCC made vectors of every loop here, whatever its cost model.
template <typename T>
using Lanes = std::array<T, 64 / sizeof(T)>;

/// The unsigned integer of the size of `T`.
template <typename T>
using BitsOf = std::conditional_t<sizeof(T) == sizeof(std::uint32_t), std::uint32_t, std::uint64_t>;

/// How far right the sign bit of a `T` must go to be 0 or 1.
template <typename T>
constexpr unsigned kSignBit = 8 * sizeof(T) - 1;

/// Calls `body(lane, k)` once for every k in [0, n), with the lanes in turn; the rest at the end is lane 0's, so that
/// no lane is chosen at run time.
template <std::size_t n_lanes, typename Body>
void for_lanes(std::size_t n, Body&& body) {
  std::size_t k = 0;
  for (; k + n_lanes <= n; k += n_lanes) {
    for (std::size_t lane = 0; lane < n_lanes; ++lane) body(lane, k + lane);
  }
  for (; k < n; ++k) body(std::size_t{0}, k);
}

}  // namespace dsgd
