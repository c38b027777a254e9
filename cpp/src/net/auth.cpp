#include "dsgd/net/auth.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <string_view>  // for string_view

namespace dsgd::net {
namespace {

const unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);  // NOLINT: the byte type of OpenSSL
}

unsigned char* raw(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);  // NOLINT: likewise
}

constexpr std::string_view kAnswers = "dsgd answers";
constexpr std::string_view kCalls = "dsgd calls";

Digest proof_of(const Token& token, std::string_view role, const Greeting& greeting, const Digest& nonce) {
  Bytes message;
  const auto append = [&](ByteSpan bytes) { message.insert(message.end(), bytes.begin(), bytes.end()); };
  append(std::as_bytes(std::span(role)));
  append(std::as_bytes(std::span(&kVersion, 1)));
  append(std::as_bytes(std::span(&greeting.who.purpose, 1)));
  append(std::as_bytes(std::span(&greeting.who.worker, 1)));
  append(std::as_bytes(std::span(&greeting.who.target, 1)));
  append(greeting.nonce);
  append(nonce);
  return token.hmac(message);
}

/// Compares in constant time, so that the time does not reveal the first difference.
bool equal(const Digest& a, const Digest& b) { return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

template <typename Body>
Body expect(const Message& message) {
  if (message.type != Body::kType) malformed("the handshake comes first");
  return decode<Body>(message.body);
}

}  // namespace

Token::Token(ByteSpan secret) : secret_(secret.begin(), secret.end()) {
  if (secret.size() < kLeastBytes) {
    throw Error(ErrorCode::config, "a token of " + std::to_string(secret.size()) + " bytes is no secret; take " +
                                       std::to_string(kLeastBytes) + " random ones or more");
  }
}

Digest Token::hmac(ByteSpan message) const {
  Digest digest;
  unsigned int size = 0;
  if (HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()), raw(message.data()), message.size(),
           raw(digest.data()), &size) == nullptr ||
      size != digest.size()) {
    throw Error(ErrorCode::authentication, "OpenSSL has no HMAC-SHA-256");
  }
  return digest;
}

Digest fresh_nonce() {
  Digest nonce;
  if (RAND_bytes(raw(nonce.data()), static_cast<int>(nonce.size())) != 1) {
    throw Error(ErrorCode::authentication, "OpenSSL has no random numbers");
  }
  return nonce;
}

std::vector<Frame> Caller::greet() const { return encode(greeting_, 0, true); }

std::vector<Frame> Caller::answer(const Message& challenge) const {
  const auto received = expect<Challenge>(challenge);
  if (!equal(received.proof, proof_of(token_, kAnswers, greeting_, received.nonce))) {
    throw Error(ErrorCode::authentication, "the peer has another token than this side");
  }
  return encode(Proof{proof_of(token_, kCalls, greeting_, received.nonce)}, 0, true);
}

std::vector<Frame> Gatekeeper::challenge(const Message& greeting) {
  greeting_ = expect<Greeting>(greeting);
  return encode(Challenge{nonce_, proof_of(token_, kAnswers, greeting_, nonce_)}, 0, true);
}

const Introduction& Gatekeeper::admit(const Message& proof) const {
  if (!equal(expect<Proof>(proof).proof, proof_of(token_, kCalls, greeting_, nonce_))) {
    throw Error(ErrorCode::authentication, "the peer has another token than this side");
  }
  return greeting_.who;
}

}  // namespace dsgd::net
