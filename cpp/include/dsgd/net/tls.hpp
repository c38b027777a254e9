// The options of TLS 1.3. TLS is optional, and lies below the handshake of auth.hpp, which always
// takes place.
#pragma once

#include <cstdint>  // for uint8_t
#include <string>   // for string

namespace dsgd::net {

struct TlsOptions {
  enum class Mode : std::uint8_t {
    none,
    psk,           // a pre-shared key, derived from the token
    certificates,  // both sides have one signed by `authority`
  };
  Mode mode = Mode::none;
  std::string certificate;  // certificate, key and authority are PEM files
  std::string key;
  std::string authority;
  /// Whether the listener's certificate must name the host that is connected to. If not, whoever has
  /// a certificate of the authority may listen at any host.
  bool check_host = true;
};

}  // namespace dsgd::net
