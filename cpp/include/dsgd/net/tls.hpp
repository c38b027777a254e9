// What TLS 1.3 is made of, where it is wanted: under the handshake of auth.hpp, which is there in any case.
#pragma once

#include <cstdint>  // for uint8_t
#include <string>   // for string

namespace dsgd::net {

struct TlsOptions {
  enum class Mode : std::uint8_t {
    none,
    psk,           // a key derived from the token: nothing else is needed
    certificates,  // of both sides, signed by `authority`, the listening side's for the host that is connected to
  };
  Mode mode = Mode::none;
  std::string certificate;  // files, PEM
  std::string key;
  std::string authority;
};

}  // namespace dsgd::net
