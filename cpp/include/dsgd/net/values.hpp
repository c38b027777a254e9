// Arrays on the wire: whole ranges, or some rows of one by their keys. Keys are sent as differences, in as few bytes as
// each needs; element types have a number, of which 2 and 3 are kept for float16 and bfloat16.
#pragma once

#include <cstdint>  // for uint64_t, uint8_t
#include <span>     // for span
#include <variant>  // for variant
#include <vector>   // for vector

#include "dsgd/core/types.hpp"
#include "dsgd/net/frame.hpp"

namespace dsgd::net {

enum class DType : std::uint8_t { float32 = 0, float64 = 1 };

template <RealType Real>
inline constexpr DType kDType = std::same_as<Real, float> ? DType::float32 : DType::float64;

using Keys = std::vector<std::uint64_t>;
using Numbers = std::variant<std::vector<float>, std::vector<double>>;

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

void put_keys(MessageWriter& writer, std::span<const std::uint64_t> keys);
[[nodiscard]] Keys take_keys(MessageReader& reader);

void put_values(MessageWriter& writer, const Values& values);
[[nodiscard]] Values take_values(MessageReader& reader);

}  // namespace dsgd::net
