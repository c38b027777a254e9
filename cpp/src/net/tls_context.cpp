#include "tls_context.hpp"

#include <openssl/ssl.h>

#include <algorithm>    // for equal
#include <array>        // for array
#include <string_view>  // for string_view

namespace dsgd::net {
namespace {

constexpr std::string_view kIdentity = "dsgd";
/// The identity in the byte type of OpenSSL.
// NOLINTNEXTLINE
const unsigned char* identity_bytes() { return reinterpret_cast<const unsigned char*>(kIdentity.data()); }

constexpr const char* kSuite = "TLS_AES_128_GCM_SHA256";
constexpr std::array<unsigned char, 2> kSuiteNumber{0x13, 0x01};

/// The index of the extra data in which a context keeps its key. Asio uses the application data,
/// which OpenSSL offers for this.
int key_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

/// A session made from the pre-shared key, without a negotiation. This is how OpenSSL takes a
/// pre-shared key for TLS 1.3.
SSL_SESSION* session_of(SSL* ssl) {
  const auto* key = static_cast<const Digest*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), key_index()));
  SSL_SESSION* session = SSL_SESSION_new();
  if (session == nullptr) return nullptr;
  // NOLINTNEXTLINE: the byte type of OpenSSL
  const auto* bytes = reinterpret_cast<const unsigned char*>(key->data());
  // The session must have the session id context of its SSL_CTX.
  if (SSL_SESSION_set1_master_key(session, bytes, key->size()) == 1 &&
      SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, kSuiteNumber.data())) == 1 &&
      SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1 &&
      SSL_SESSION_set1_id_context(session, identity_bytes(), kIdentity.size()) == 1) {
    return session;
  }
  SSL_SESSION_free(session);
  return nullptr;
}

int find_session(SSL* ssl, const unsigned char* identity, std::size_t length, SSL_SESSION** session) {
  const bool known = std::equal(identity, identity + length, kIdentity.begin(), kIdentity.end());
  *session = known ? session_of(ssl) : nullptr;
  return 1;
}

int use_session(SSL* ssl, const EVP_MD* digest, const unsigned char** identity, std::size_t* length,
                SSL_SESSION** session) {
  *session = nullptr;
  *length = 0;
  *identity = nullptr;
  // The key is for the suite with SHA-256 only.
  if (digest != nullptr && EVP_MD_get_type(digest) != NID_sha256) return 1;
  *session = session_of(ssl);
  *identity = identity_bytes();
  *length = kIdentity.size();
  return *session != nullptr ? 1 : 0;
}

}  // namespace

Tls::Tls(const TlsOptions& options, const Token& token)
    : mode_(options.mode),
      checks_host_(mode_ == TlsOptions::Mode::certificates && options.check_host),
      context_(asio::ssl::context::tlsv13) {
  SSL_CTX_set_min_proto_version(context_.native_handle(), TLS1_3_VERSION);
  SSL_CTX_set_session_id_context(context_.native_handle(), identity_bytes(), kIdentity.size());
  SSL_CTX_set_num_tickets(context_.native_handle(), 0);  // sessions are never resumed
  if (mode_ == TlsOptions::Mode::psk) use_psk(token);
  if (mode_ == TlsOptions::Mode::certificates) use_certificates(options);
}

void Tls::use_psk(const Token& token) {
  key_ = std::make_unique<const Digest>(token.hmac(std::as_bytes(std::span(std::string_view("dsgd tls psk")))));
  SSL_CTX* context = context_.native_handle();
  // NOLINTNEXTLINE: the key is only read
  SSL_CTX_set_ex_data(context, key_index(), const_cast<Digest*>(key_.get()));
  SSL_CTX_set_ciphersuites(context, kSuite);
  SSL_CTX_set_psk_find_session_callback(context, find_session);
  SSL_CTX_set_psk_use_session_callback(context, use_session);
  context_.set_verify_mode(asio::ssl::verify_peer);  // no certificate is trusted
}

void Tls::use_certificates(const TlsOptions& options) {
  asio::error_code error;
  const auto check = [&](const char* what, const std::string& file) {
    if (error)
      throw Error(ErrorCode::config, std::string("tls: cannot use ") + what + " '" + file + "': " + error.message());
  };
  context_.use_certificate_chain_file(options.certificate, error);
  check("certificate", options.certificate);
  context_.use_private_key_file(options.key, asio::ssl::context::pem, error);
  check("key", options.key);
  context_.load_verify_file(options.authority, error);
  check("authority", options.authority);
  context_.set_verify_mode(asio::ssl::verify_peer |  // NOLINT(bugprone-signed-bitwise): Asio's numbers
                           asio::ssl::verify_fail_if_no_peer_cert);
}

}  // namespace dsgd::net
