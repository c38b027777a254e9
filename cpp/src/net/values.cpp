#include "dsgd/net/values.hpp"

#include <array>   // for array
#include <limits>  // for numeric_limits

namespace dsgd::net {
namespace {

constexpr std::uint64_t kMore = 0x80;

void append_varint(Bytes& bytes, std::uint64_t value) {
  for (; value >= kMore; value >>= 7U) bytes.push_back(static_cast<std::byte>(value | kMore));
  bytes.push_back(static_cast<std::byte>(value));
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
std::vector<Real> take_numbers(MessageReader& reader) {
  const auto count = reader.take<std::uint64_t>();
  if (count > reader.left() / sizeof(Real)) {
    malformed(std::to_string(count) + " values announced, " + std::to_string(reader.left()) + " bytes follow");
  }
  std::vector<Real> numbers(static_cast<std::size_t>(count));
  const ByteSpan bytes = reader.take_bytes(numbers.size() * sizeof(Real));
  if (!bytes.empty()) std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

}  // namespace

void put_keys(MessageWriter& writer, std::span<const std::uint64_t> keys) {
  Bytes packed;
  packed.reserve(keys.size() * 2);
  std::uint64_t former = 0;
  for (const std::uint64_t key : keys) {
    append_varint(packed, key - former);
    former = key;
  }
  writer.put(static_cast<std::uint64_t>(keys.size()));
  writer.put_blob(packed);
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

void put_values(MessageWriter& writer, const Values& values) {
  writer.put(values.dtype());
  writer.put(static_cast<std::uint8_t>(values.sparse));
  if (values.sparse) put_keys(writer, values.keys);
  writer.put(static_cast<std::uint64_t>(values.size()));
  std::visit([&](const auto& numbers) { writer.put_bytes(std::as_bytes(std::span(numbers))); }, values.data);
}

Values take_values(MessageReader& reader) {
  const auto dtype = reader.take<std::uint8_t>();
  Values values;
  values.sparse = reader.take_flag();
  if (values.sparse) values.keys = take_keys(reader);
  switch (dtype) {
    case static_cast<std::uint8_t>(DType::float32):
      values.data = take_numbers<float>(reader);
      break;
    case static_cast<std::uint8_t>(DType::float64):
      values.data = take_numbers<double>(reader);
      break;
    default:
      malformed("unknown type of values " + std::to_string(dtype));
  }
  return values;
}

}  // namespace dsgd::net
