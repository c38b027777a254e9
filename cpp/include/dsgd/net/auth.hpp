// The handshake of two sides that share a token, as functions without I/O.
//
//   greeting   ->  who comes, to whom, what for; a fresh nonce
//   challenge  <-  a fresh nonce; HMAC-SHA-256(token, "dsgd answers" + introduction + both nonces)
//   proof      ->  HMAC-SHA-256(token, "dsgd calls" + introduction + both nonces)
//
// Both sides prove that they know the token without showing it. Fresh nonces of both make a recorded handshake worth
// nothing, the words tell the directions apart. Frames of a handshake always have a payload checksum, so that a damaged
// one is not taken for a wrong token.
#pragma once

#include <vector>  // for vector

#include "dsgd/net/messages.hpp"

namespace dsgd::net {

/// Before the handshake is over no frame has a longer payload.
inline constexpr std::size_t kHandshakeBytes = 1024;
inline constexpr double kHandshakeSeconds = 5;
inline constexpr std::size_t kHalfOpen = 64;

/// The secret of a run.
class Token {
 public:
  static constexpr std::size_t kLeastBytes = 16;

  /// Throws Error(config) for one that is too short to be a secret.
  explicit Token(ByteSpan secret);

  [[nodiscard]] Digest hmac(ByteSpan message) const;

 private:
  Bytes secret_;
};

/// 32 bytes that nobody can foresee.
[[nodiscard]] Digest fresh_nonce();

/// The side that connects.
class Caller {
 public:
  Caller(const Token& token, const Introduction& who, const Digest& nonce) : token_(token), greeting_{who, nonce} {}

  [[nodiscard]] std::vector<Frame> greet() const;
  /// The proof. Throws Error(authentication) unless the other side knows the token.
  [[nodiscard]] std::vector<Frame> answer(const Message& challenge) const;

 private:
  const Token& token_;
  Greeting greeting_;
};

/// The side that is connected to.
class Gatekeeper {
 public:
  Gatekeeper(const Token& token, const Digest& nonce) : token_(token), nonce_(nonce) {}

  [[nodiscard]] std::vector<Frame> challenge(const Message& greeting);
  /// Who it is. Throws Error(authentication) unless the proof is right.
  [[nodiscard]] const Introduction& admit(const Message& proof) const;

 private:
  const Token& token_;
  Digest nonce_;
  Greeting greeting_;
};

}  // namespace dsgd::net
