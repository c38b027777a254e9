// A connection's bytes, from the first on, into a server without sockets: handshake, then frames. The first byte says
// how many of the true handshake's bytes the peer knows (it may be all): what follows is the input.
#include <algorithm>  // for min
#include <cstddef>    // for size_t
#include <cstdint>    // for uint8_t
#include <optional>   // for optional
#include <span>       // for span
#include <vector>     // for vector

#include "check.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/net/auth.hpp"
#include "dsgd/net/crc32c.hpp"
#include "dsgd/server/server.hpp"

namespace {

using namespace dsgd::net;
using dsgd::fuzz::check;

/// What the network does with the bytes of one peer.
class Session {
 public:
  explicit Session(const Token& token) : gatekeeper_(token, Digest{}), server_(0.0, config()) {}

  [[nodiscard]] bool admitted() const { return admitted_; }

  /// Throws Error(protocol) or Error(authentication) where the connection would be refused.
  void run(ByteSpan bytes) {
    Assembler handshake(kHandshakeBytes);
    Assembler messages(server_.message_limit());
    while (bytes.size() >= kHeaderBytes) {
      const FrameHeader header = parse_header(bytes.first(kHeaderBytes));
      bytes = bytes.subspan(kHeaderBytes);
      if (!admitted_ && header.length > kHandshakeBytes) malformed("too long for a handshake");
      Assembler& assembler = admitted_ ? messages : handshake;
      const auto room = assembler.room(header);
      check(room.size() == header.length, "the room is the payload's");
      if (bytes.size() < header.length) return;  // cut short
      std::ranges::copy(bytes.first(header.length), room.begin());
      const auto message = assembler.filled(header, header.checksum ? crc32c(room) : 0);
      bytes = bytes.subspan(header.length);
      if (message) take(*message);
    }
  }

 private:
  static dsgd::server::ServerConfig config() {
    dsgd::server::ServerConfig config;
    config.tables = {{.name = "sum", .size = 6}};
    return config;
  }

  void take(const Message& message) {
    if (admitted_) {
      static_cast<void>(server_.receive(0.0, 1, message));
    } else if (!challenged_) {
      static_cast<void>(gatekeeper_.challenge(message));
      challenged_ = true;
    } else {
      static_cast<void>(gatekeeper_.admit(message));
      admitted_ = true;
      static_cast<void>(server_.connected(0.0, 1));
    }
  }

  Gatekeeper gatekeeper_;
  dsgd::server::ParameterServer server_;
  bool challenged_ = false;
  bool admitted_ = false;
};

/// What a peer that knows the token sends to a gatekeeper whose nonce is zero.
Bytes true_handshake(const Token& token) {
  const Caller caller(token, {}, Digest{});
  Bytes all = caller.greet()[0]->flat();
  const auto view = parse_frame(all);
  Gatekeeper gatekeeper(token, Digest{});
  const Bytes challenge = gatekeeper.challenge({view.header.type, 0, {nullptr, view.payload}})[0]->flat();
  const auto answer = parse_frame(challenge);
  const Bytes proof = caller.answer({answer.header.type, 0, {nullptr, answer.payload}})[0]->flat();
  all.insert(all.end(), proof.begin(), proof.end());
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 4096) return 0;
  static const Token token(Bytes(Token::kLeastBytes, std::byte{7}));
  static const Bytes handshake = true_handshake(token);
  const std::size_t known = std::min<std::size_t>(data[0], handshake.size());
  Bytes bytes(handshake.begin(), handshake.begin() + static_cast<std::ptrdiff_t>(known));
  const auto rest = std::as_bytes(std::span(data, size).subspan(1));
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  Session session(token);
  try {
    session.run(bytes);
  } catch (const dsgd::Error& error) {
    check(error.code() == dsgd::ErrorCode::protocol || error.code() == dsgd::ErrorCode::authentication,
          "malformed bytes are a fault of the peer");
  }
  const bool knows = bytes.size() >= handshake.size() && std::equal(handshake.begin(), handshake.end(), bytes.begin());
  check(session.admitted() == knows, "who sends the true proof is let in, and nobody else");
  return 0;
}
