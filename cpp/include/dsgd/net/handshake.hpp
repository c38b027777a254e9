// The messages of the handshake, which precede all others on a connection; auth.hpp says what they prove.
#pragma once

#include <array>    // for array
#include <cstddef>  // for byte
#include <cstdint>  // for uint32_t, uint8_t

#include "dsgd/net/frame.hpp"

namespace dsgd::net {

/// 32 bytes: a nonce, or an HMAC-SHA-256.
using Digest = std::array<std::byte, 32>;

/// The purpose of a connection.
enum class Purpose : std::uint8_t {
  work,     // a worker works with a shard
  letters,  // a worker sends letters to another worker
};
inline constexpr auto kLastPurpose = static_cast<std::uint8_t>(Purpose::letters);

/// The purpose, the worker that calls, and the target (a shard or a worker).
struct Introduction {
  Purpose purpose = Purpose::work;
  std::uint32_t worker = 0;
  std::uint32_t target = 0;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(purpose, worker, target);
  }
};

/// The first message.
struct Greeting {
  static constexpr MessageType kType = MessageType::greeting;
  Introduction who;
  Digest nonce{};

  template <typename Archive>
  void fields(Archive& archive) {
    archive(who, nonce);
  }
};

struct Challenge {
  static constexpr MessageType kType = MessageType::challenge;
  Digest nonce{};
  Digest proof{};

  template <typename Archive>
  void fields(Archive& archive) {
    archive(nonce, proof);
  }
};

struct Proof {
  static constexpr MessageType kType = MessageType::proof;
  Digest proof{};

  template <typename Archive>
  void fields(Archive& archive) {
    archive(proof);
  }
};

}  // namespace dsgd::net
