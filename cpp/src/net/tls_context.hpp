// The OpenSSL context of a process, for both of its roles (caller and listener).
#pragma once

#include <asio/ssl/context.hpp>  // for context
#include <memory>                // for unique_ptr

#include "dsgd/net/auth.hpp"
#include "dsgd/net/tls.hpp"

namespace dsgd::net {

class Tls {
 public:
  /// Throws Error(config) for files that are missing or do not fit together.
  Tls(const TlsOptions& options, const Token& token);

  [[nodiscard]] bool used() const noexcept { return mode_ != TlsOptions::Mode::none; }
  [[nodiscard]] bool checks_host() const noexcept { return checks_host_; }
  [[nodiscard]] asio::ssl::context& context() { return context_; }

 private:
  void use_psk(const Token& token);
  void use_certificates(const TlsOptions& options);

  TlsOptions::Mode mode_;
  bool checks_host_;
  std::unique_ptr<const Digest> key_;  // read by the context's callbacks
  asio::ssl::context context_;
};

}  // namespace dsgd::net
