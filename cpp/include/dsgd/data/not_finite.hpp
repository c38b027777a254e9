// The search for matrix entries that are infinite or not a number (NaN), and the error that names
// one.
#pragma once

#include <bit>      // for bit_cast
#include <cmath>    // for abs
#include <cstddef>  // for size_t
#include <limits>   // for numeric_limits
#include <span>     // for span
#include <string>   // for to_string

#include "dsgd/core/error.hpp"
#include "dsgd/core/lanes.hpp"
#include "dsgd/core/types.hpp"

namespace dsgd {

/// Whether all values are finite. The exponent bits of an infinity or a NaN are all 1, so that
/// adding 1 to the exponent of |x| carries into the sign bit. This is integer arithmetic without a
/// branch or a comparison, which the vector instructions of every processor can do.
template <RealType Real>
[[nodiscard]] bool all_finite(std::span<const Real> values) {
  using Bits = BitsOf<Real>;
  constexpr Bits kExponentUnit = Bits{1} << static_cast<unsigned>(std::numeric_limits<Real>::digits - 1);
  Lanes<Bits> found{};
  for_lanes<found.size()>(values.size(), [&](std::size_t lane, std::size_t k) {
    found[lane] |= std::bit_cast<Bits>(std::abs(values[k])) + kExponentUnit;
  });
  Bits any = 0;
  for (const Bits bits : found) any |= bits;
  return any >> kSignBit<Real> == 0;
}

[[noreturn]] inline void fail_not_finite(std::size_t row, std::size_t column, double value) {
  throw Error(ErrorCode::data, "X[" + std::to_string(row) + ", " + std::to_string(column) + "] is " +
                                   std::to_string(value) + "; fill in or leave out what is not a finite number");
}

}  // namespace dsgd
