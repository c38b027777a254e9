// The format of arrays in messages: a whole range, or some rows of it with their keys. Keys are
// sent as differences, each in as few bytes as it needs. Numbers begin at a multiple of 8 bytes, so
// that the receiver can use them without a copy. Numbers may be sent with 16 bits, rounded to
// nearest, ties to even.
#pragma once

#include <cstdint>  // for uint64_t, uint8_t
#include <span>     // for span
#include <string>   // for string
#include <variant>  // for variant
#include <vector>   // for vector

#include "dsgd/core/types.hpp"
#include "dsgd/net/frame.hpp"

namespace dsgd::net {

enum class DType : std::uint8_t { float32 = 0, float64 = 1 };

template <RealType Real>
inline constexpr DType kDType = std::same_as<Real, float> ? DType::float32 : DType::float64;

/// The format in which numbers are sent: exactly, or rounded to 16 bits. float16 has 11 bits of
/// mantissa, and numbers beyond 65,504 become infinite. bfloat16 has 8 bits of mantissa and the
/// range of float32. A float64 is first rounded to float32.
enum class Wire : std::uint8_t { exact = 0, float16 = 1, bfloat16 = 2 };

using Keys = std::vector<std::uint64_t>;
using Numbers = std::variant<Array<float>, Array<double>>;

/// Values of the rows `keys`, in their order, or of all rows.
struct Values {
  bool sparse = false;
  Keys keys;  // strictly increasing
  Numbers data;

  [[nodiscard]] DType dtype() const noexcept { return static_cast<DType>(data.index()); }
  [[nodiscard]] std::size_t size() const {
    return std::visit([](const auto& numbers) { return numbers.size(); }, data);
  }
};

/// All rows of an array whose memory is in pieces. It is sent in the format of Values.
struct Rope {
  DType dtype = DType::float32;
  std::uint64_t size = 0;  // number of elements
  std::vector<Slice> slices;
};

void put_keys(MessageWriter& writer, std::span<const std::uint64_t> keys);
[[nodiscard]] Keys take_keys(MessageReader& reader);

void put_values(MessageWriter& writer, const Values& values, Wire wire = Wire::exact);
void put_rope(MessageWriter& writer, const Rope& rope);
[[nodiscard]] Values take_values(MessageReader& reader);

[[nodiscard]] std::uint16_t to_float16(float value) noexcept;
[[nodiscard]] float from_float16(std::uint16_t bits) noexcept;
[[nodiscard]] std::uint16_t to_bfloat16(float value) noexcept;
[[nodiscard]] float from_bfloat16(std::uint16_t bits) noexcept;

}  // namespace dsgd::net
