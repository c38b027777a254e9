// CRC32C (Castagnoli), the checksum of iSCSI and ext4, for which processors have an instruction.
#pragma once

#include <cstddef>  // for byte
#include <cstdint>  // for uint32_t
#include <span>     // for span

namespace dsgd::net {

/// The checksum of `bytes`; `seed` is the checksum of the bytes before them.
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed = 0) noexcept;

/// The same without special instructions, for other processors and for tests.
[[nodiscard]] std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t seed = 0) noexcept;

}  // namespace dsgd::net
