// The handshake between two sides that share a token. It does no I/O.
//
//   greeting   ->  the introduction (caller, target, purpose); a fresh nonce
//   challenge  <-  a fresh nonce; HMAC-SHA-256(token, "dsgd answers" + introduction + both nonces)
//   proof      ->  HMAC-SHA-256(token, "dsgd calls" + introduction + both nonces)
//
// Each side proves that it knows the token, without revealing it. Fresh nonces of both sides make a
// recorded handshake useless. The words "answers" and "calls" make the two proofs different, so
// that a proof cannot be sent back to its author. Frames of a handshake always have a payload
// checksum, so that a damaged frame is not mistaken for a wrong token.
#pragma once

#include <vector>  // for vector

#include "dsgd/net/messages.hpp"

namespace dsgd::net {

/// Largest payload of a frame before the handshake is complete.
inline constexpr std::size_t kHandshakeBytes = 1024;
/// Seconds within which a handshake must be complete.
inline constexpr double kHandshakeSeconds = 5;
/// Most connections of a listener whose handshake is not complete.
inline constexpr std::size_t kHalfOpen = 64;

/// The secret that all processes of a run share.
class Token {
 public:
  static constexpr std::size_t kLeastBytes = 16;

  /// Throws Error(config) if `secret` is shorter than kLeastBytes.
  explicit Token(ByteSpan secret);

  [[nodiscard]] Digest hmac(ByteSpan message) const;

 private:
  Bytes secret_;
};

/// 32 unpredictable random bytes.
[[nodiscard]] Digest fresh_nonce();

/// The side that opens the connection.
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

/// The side that accepts the connection.
class Gatekeeper {
 public:
  Gatekeeper(const Token& token, const Digest& nonce) : token_(token), nonce_(nonce) {}

  [[nodiscard]] std::vector<Frame> challenge(const Message& greeting);
  /// Returns the introduction of the caller. Throws Error(authentication) unless the proof is
  /// right.
  [[nodiscard]] const Introduction& admit(const Message& proof) const;

 private:
  const Token& token_;
  Digest nonce_;
  Greeting greeting_;
};

}  // namespace dsgd::net
