#include "dsgd/net/values.hpp"

#include <algorithm>  // for min
#include <array>      // for array
#include <bit>        // for bit_cast, bit_width
#include <limits>     // for numeric_limits
#include <utility>    // for exchange

namespace dsgd::net {
namespace {

constexpr std::uint64_t kMore = 0x80;
constexpr std::size_t kLongestVarint = 10;
/// Alignment of numbers in bytes, relative to the beginning of the message.
constexpr std::size_t kAlignment = 8;
/// The code of numbers has their DType in the bits below this one, and their Wire in the bits
/// above.
constexpr unsigned kWireShift = 4;

std::size_t varint_bytes(std::uint64_t value) { return (static_cast<std::size_t>(std::bit_width(value | 1U)) + 6) / 7; }

std::byte* write_varint(std::byte* to, std::uint64_t value) {
  for (; value >= kMore; value >>= 7U) *to++ = static_cast<std::byte>(value | kMore);
  *to++ = static_cast<std::byte>(value);
  return to;
}

std::uint64_t next_varint(ByteSpan bytes, std::size_t& at) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; at < bytes.size(); shift += 7) {
    const auto byte = static_cast<std::uint64_t>(bytes[at++]);
    if (shift == 63 && byte > 1) break;
    value |= (byte & (kMore - 1)) << shift;
    if (byte < kMore) return value;
  }
  malformed("a key does not end, or is larger than 64 bits");
}

template <typename Real>
Array<Real> take_exact(MessageReader& reader, std::size_t count) {
  const ByteSpan bytes = reader.take_bytes(count * sizeof(Real));
  // NOLINTNEXTLINE: the address decides whether the numbers can be used in place
  if (reader.owner() && reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(Real) == 0) {
    // NOLINTNEXTLINE: the bytes are little-endian numbers
    return {reader.owner(), {reinterpret_cast<const Real*>(bytes.data()), count}};
  }
  std::vector<Real> numbers(count);
  if (!bytes.empty()) std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

template <typename Real>
Array<Real> take_short(MessageReader& reader, std::size_t count, Wire wire) {
  const ByteSpan bytes = reader.take_bytes(count * sizeof(std::uint16_t));
  std::vector<Real> numbers(count);
  for (std::size_t k = 0; k < count; ++k) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + k * sizeof bits, sizeof bits);
    numbers[k] = static_cast<Real>(wire == Wire::float16 ? from_float16(bits) : from_bfloat16(bits));
  }
  return numbers;
}

template <typename Real>
Array<Real> take_numbers(MessageReader& reader, Wire wire) {
  const auto count = reader.take<std::uint64_t>();
  const std::size_t width = wire == Wire::exact ? sizeof(Real) : sizeof(std::uint16_t);
  if (count > reader.left() / width) {
    malformed(std::to_string(count) + " values announced, " + std::to_string(reader.left()) + " bytes follow");
  }
  reader.skip_padding(kAlignment);
  const auto n = static_cast<std::size_t>(count);
  return wire == Wire::exact ? take_exact<Real>(reader, n) : take_short<Real>(reader, n, wire);
}

/// Writes the two bytes before the keys and numbers.
void put_code(MessageWriter& writer, DType dtype, Wire wire, bool sparse) {
  writer.put(static_cast<std::uint8_t>(static_cast<unsigned>(dtype) | static_cast<unsigned>(wire) << kWireShift));
  writer.put(static_cast<std::uint8_t>(sparse));
}

}  // namespace

void put_keys(MessageWriter& writer, std::span<const std::uint64_t> keys) {
  std::uint64_t bytes = 0;
  std::uint64_t former = 0;
  for (const std::uint64_t key : keys) bytes += varint_bytes(key - std::exchange(former, key));
  writer.put(static_cast<std::uint64_t>(keys.size()));
  writer.put(bytes);
  constexpr std::size_t kAtOnce = 512;
  std::array<std::byte, kAtOnce * kLongestVarint> packed;
  former = 0;
  while (!keys.empty()) {
    std::byte* end = packed.data();
    const auto some = keys.first(std::min(keys.size(), kAtOnce));
    for (const std::uint64_t key : some) end = write_varint(end, key - std::exchange(former, key));
    writer.put_bytes(ByteSpan(packed.data(), end));
    keys = keys.subspan(some.size());
  }
}

Keys take_keys(MessageReader& reader) {
  const auto count = reader.take<std::uint64_t>();
  const ByteSpan packed = reader.take_blob();
  if (count > packed.size())
    malformed(std::to_string(count) + " keys announced in " + std::to_string(packed.size()) + " bytes");
  Keys keys;
  keys.reserve(static_cast<std::size_t>(count));
  std::size_t at = 0;
  std::uint64_t former = 0;
  for (std::uint64_t k = 0; k < count; ++k) {
    const std::uint64_t difference = next_varint(packed, at);
    if (k > 0 && difference == 0) malformed("a key comes twice");
    if (difference > std::numeric_limits<std::uint64_t>::max() - former) malformed("a key is larger than 64 bits");
    former += difference;
    keys.push_back(former);
  }
  if (at != packed.size()) malformed("bytes follow the last key");
  return keys;
}

void put_values(MessageWriter& writer, const Values& values, Wire wire) {
  put_code(writer, values.dtype(), wire, values.sparse);
  if (values.sparse) put_keys(writer, values.keys);
  writer.put(static_cast<std::uint64_t>(values.size()));
  writer.pad(kAlignment);
  std::visit(
      [&](const auto& numbers) {
        if (wire == Wire::exact) return writer.put_slice(numbers.slice());
        std::vector<std::uint16_t> bits(numbers.size());
        for (std::size_t k = 0; k < bits.size(); ++k) {
          const auto single = static_cast<float>(numbers[k]);
          bits[k] = wire == Wire::float16 ? to_float16(single) : to_bfloat16(single);
        }
        writer.put_bytes(std::as_bytes(std::span(bits)));
      },
      values.data);
}

void put_rope(MessageWriter& writer, const Rope& rope) {
  put_code(writer, rope.dtype, Wire::exact, false);
  writer.put(rope.size);
  writer.pad(kAlignment);
  for (const Slice& slice : rope.slices) writer.put_slice(slice);
}

Values take_values(MessageReader& reader) {
  const unsigned code = reader.take<std::uint8_t>();
  const unsigned dtype = code & ((1U << kWireShift) - 1);
  const unsigned wire = code >> kWireShift;
  if (dtype > static_cast<unsigned>(DType::float64) || wire > static_cast<unsigned>(Wire::bfloat16)) {
    malformed("unknown type of values " + std::to_string(code));
  }
  Values values;
  values.sparse = reader.take_flag();
  if (values.sparse) values.keys = take_keys(reader);
  if (static_cast<DType>(dtype) == DType::float32) {
    values.data = take_numbers<float>(reader, static_cast<Wire>(wire));
  } else {
    values.data = take_numbers<double>(reader, static_cast<Wire>(wire));
  }
  return values;
}

std::uint16_t to_float16(float value) noexcept {
  constexpr std::uint32_t kInfinity = 0x7f800000U;
  constexpr std::uint32_t kOverflow = 0x477ff000U;     // 65,520: rounds to infinity
  constexpr std::uint32_t kLeastNormal = 0x38800000U;  // 2^-14
  constexpr float kHalfUlps = 0.5F;                    // see below
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16U) & 0x8000U;
  const std::uint32_t size = bits & 0x7fffffffU;
  std::uint32_t half = 0;
  if (size > kInfinity) {
    half = 0x7e00U;
  } else if (size >= kOverflow) {
    half = 0x7c00U;
  } else if (size < kLeastNormal) {
    // The last bits of the sum with 0.5 are the bits of the subnormal, rounded.
    half =
        std::bit_cast<std::uint32_t>(std::bit_cast<float>(size) + kHalfUlps) - std::bit_cast<std::uint32_t>(kHalfUlps);
  } else {
    const std::uint32_t odd = (size >> 13U) & 1U;
    half = (size - (112U << 23U) + 0xfffU + odd) >> 13U;
  }
  return static_cast<std::uint16_t>(sign | half);
}

float from_float16(std::uint16_t bits) noexcept {
  const std::uint32_t wide = bits;
  const std::uint32_t sign = (wide & 0x8000U) << 16U;
  const std::uint32_t exponent = (wide >> 10U) & 0x1fU;
  const std::uint32_t mantissa = wide & 0x3ffU;
  std::uint32_t size = 0;
  if (exponent == 0x1fU) {
    size = 0x7f800000U | mantissa << 13U;
  } else if (exponent > 0) {
    size = (exponent + 112U) << 23U | mantissa << 13U;
  } else {
    constexpr float kLeast = 1.0F / static_cast<float>(1U << 24U);  // the least subnormal
    size = std::bit_cast<std::uint32_t>(static_cast<float>(mantissa) * kLeast);
  }
  return std::bit_cast<float>(sign | size);
}

std::uint16_t to_bfloat16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  // Not a number.
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>(bits >> 16U | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
}

float from_bfloat16(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

}  // namespace dsgd::net
