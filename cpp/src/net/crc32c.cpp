#include "dsgd/net/crc32c.hpp"

#include <array>    // for array
#include <cstring>  // for memcpy

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace dsgd::net {
namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78U;  // reflected

using Table = std::array<std::uint32_t, 256>;

constexpr Table make_table() {
  Table table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? kPolynomial : 0U);
    table[byte] = crc;
  }
  return table;
}

constexpr Table kTable = make_table();

constexpr std::uint32_t after_zero_byte(std::uint32_t crc) { return (crc >> 8U) ^ kTable[crc & 0xffU]; }

#if defined(__x86_64__)
constexpr unsigned kStreamBits = 10;
constexpr std::size_t kStream = std::size_t{1} << kStreamBits;  // bytes

/// A linear map of checksums. Element k is the image of bit k.
using Map = std::array<std::uint32_t, 32>;

constexpr std::uint32_t apply(const Map& map, std::uint32_t crc) {
  std::uint32_t sum = 0;
  for (unsigned bit = 0; bit < map.size(); ++bit) sum ^= ((crc >> bit) & 1U) != 0 ? map[bit] : 0U;
  return sum;
}

/// The effect on a checksum of kStream zero bytes, as one table for each byte of the checksum.
constexpr std::array<Table, 4> make_shift() {
  Map map{};
  for (unsigned bit = 0; bit < map.size(); ++bit) map[bit] = after_zero_byte(1U << bit);
  for (unsigned doubled = 0; doubled < kStreamBits; ++doubled) {
    Map twice{};
    for (unsigned bit = 0; bit < map.size(); ++bit) twice[bit] = apply(map, map[bit]);
    map = twice;
  }
  std::array<Table, 4> shift{};
  for (unsigned byte = 0; byte < shift.size(); ++byte) {
    for (std::uint32_t value = 0; value < 256; ++value) shift[byte][value] = apply(map, value << (8 * byte));
  }
  return shift;
}

constexpr std::array<Table, 4> kShift = make_shift();

std::uint64_t shifted(std::uint64_t crc) {
  return kShift[0][crc & 0xffU] ^ kShift[1][(crc >> 8U) & 0xffU] ^ kShift[2][(crc >> 16U) & 0xffU] ^
         kShift[3][(crc >> 24U) & 0xffU];
}

std::uint64_t word_at(const std::byte* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

/// The processor can start a CRC instruction every cycle, but its result takes three cycles. Three
/// independent streams therefore run at the same time.
__attribute__((target("sse4.2"))) std::uint32_t crc32c_sse42(std::span<const std::byte> bytes, std::uint32_t seed) {
  std::uint64_t crc = ~seed;
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 3 * kStream; at += 3 * kStream, left -= 3 * kStream) {
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (std::size_t k = 0; k < kStream; k += 8) {
      crc = _mm_crc32_u64(crc, word_at(at + k));
      second = _mm_crc32_u64(second, word_at(at + k + kStream));
      third = _mm_crc32_u64(third, word_at(at + k + 2 * kStream));
    }
    crc = shifted(shifted(crc) ^ second) ^ third;
  }
  for (; left >= 8; at += 8, left -= 8) crc = _mm_crc32_u64(crc, word_at(at));
  auto last = static_cast<std::uint32_t>(crc);
  for (; left > 0; ++at, --left) last = _mm_crc32_u8(last, static_cast<unsigned char>(*at));
  return ~last;
}

const bool has_sse42 = __builtin_cpu_supports("sse4.2") != 0;
#endif

}  // namespace

std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t seed) noexcept {
  std::uint32_t crc = ~seed;
  for (const std::byte byte : bytes) crc = (crc >> 8U) ^ kTable[(crc ^ static_cast<std::uint32_t>(byte)) & 0xffU];
  return ~crc;
}

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed) noexcept {
#if defined(__x86_64__)
  if (has_sse42) return crc32c_sse42(bytes, seed);
#endif
  return crc32c_portable(bytes, seed);
}

}  // namespace dsgd::net
