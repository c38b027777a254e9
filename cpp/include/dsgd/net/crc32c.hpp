// CRC32C (Castagnoli), the checksum of iSCSI and ext4: processors have an instruction for it.
#pragma once

#include <cstddef>  // for byte
#include <cstdint>  // for uint32_t
#include <span>     // for span

namespace dsgd::net {

/// The checksum of `bytes`; `seed` is the checksum of what went before them.
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed = 0) noexcept;

/// The same without special instructions: what other processors run, and what tests compare with.
[[nodiscard]] std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t seed = 0) noexcept;

}  // namespace dsgd::net
