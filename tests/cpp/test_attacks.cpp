// Peers that mean harm, or are broken: each is refused or cut within its limits, and a worker is served meanwhile.
#include <array>

#include "dsgd/net/crc32c.hpp"
#include "tcp.hpp"

using namespace dsgd;
using namespace dsgd::net;
using namespace dsgd::test;

namespace {

constexpr std::size_t kSize = 4;

/// A server that is attacked, and a worker that must not notice.
struct Scene {
  explicit Scene(server::ServerConfig config = server_config(sums(kSize), 4))
      : server(serve(std::move(config))), worker(3, server_tables, {server->port()}) {
    worker.join();
  }

  void check_served() {
    worker.push(1, kSize);
    ++pushes;
    CHECK(std::get<1>(worker.pull())[0] == pushes);
  }

  std::vector<server::TableSpec> server_tables = sums(kSize);
  double pushes = 0;
  std::unique_ptr<TcpServer> server;
  Worker worker;
};

Bytes changed(Bytes frame, std::size_t at, std::byte value) {
  frame[at] = value;
  return frame;
}

/// A valid header but for what `change` does to it, with the right checksum.
template <typename Change>
Bytes header_with(Change&& change) {
  Bytes frame = encode(Greeting{}, 0, false)[0]->flat();
  frame.resize(kHeaderBytes);
  change(frame);
  const std::uint32_t crc = crc32c(ByteSpan(frame).first(kHeaderBytes - 4));
  std::memcpy(frame.data() + kHeaderBytes - 4, &crc, sizeof crc);
  return frame;
}

}  // namespace

TEST_CASE("who has another token is told so, and gets nothing") {
  Scene scene;
  Worker stranger(0, sums(kSize), {scene.server->port()}, secret("another secret of some length"));
  CHECK(stranger.wait_for(server::AnswerKind::failed).name == "authentication");

  Stranger forger(scene.server->port());  // does not mind that the server proves nothing to it
  const Token wrong(secret("another secret of some length"));
  forger.send(encode(Greeting{{Purpose::work, 0, 0}, fresh_nonce()}, 0, true));
  REQUIRE(forger.frame());
  forger.send(encode(Proof{wrong.hmac(secret())}, 0, true));
  const auto words = forger.last_words();
  REQUIRE(words);
  CHECK(words->message.find("token") != std::string::npos);
  scene.check_served();
}

TEST_CASE("a server that does not know the token is not trusted") {
  TcpServerOptions options;
  options.token = secret("another secret of some length");
  TcpServer impostor(server_config(sums(kSize)), options);
  impostor.start();
  Worker worker(0, sums(kSize), {impostor.port()});
  CHECK(worker.wait_for(server::AnswerKind::failed).name == "authentication");
}

TEST_CASE("a handshake that was recorded opens nothing a second time") {
  Scene scene;
  Bytes recorded;
  {
    Stranger honest(scene.server->port());
    recorded = honest.shake_hands(1);
  }
  Stranger replayed(scene.server->port());
  replayed.send(recorded);
  const auto words = replayed.last_words();
  REQUIRE(words);
  CHECK(words->message.find("token") != std::string::npos);
  scene.check_served();
}

TEST_CASE("a proof of one role, or for one purpose, is none for another") {
  const Token token(secret());
  const Digest a = fresh_nonce();
  const Digest b = fresh_nonce();
  CHECK(a != b);
  Gatekeeper gatekeeper(token, b);
  const Greeting greeting{{Purpose::work, 1, 0}, a};
  const auto read = [](const std::vector<Frame>& frames, Bytes& keeps) {
    keeps = frames[0]->flat();
    const auto view = parse_frame(keeps);
    return Message{view.header.type, 0, {nullptr, view.payload}};
  };
  Bytes kept;
  Bytes other;
  const auto challenge =
      decode<Challenge>(read(gatekeeper.challenge(read(encode(greeting, 0, true), kept)), other).body);
  // The server's own proof, sent back.
  CHECK_THROWS_AS(static_cast<void>(gatekeeper.admit(read(encode(Proof{challenge.proof}, 0, true), kept))), Error);
  // A proof of the same nonces for another purpose.
  const Caller letters(token, {Purpose::letters, 1, 0}, a);
  Gatekeeper of_letters(token, b);
  const auto for_letters = letters.answer(
      read(of_letters.challenge(read(encode(Greeting{{Purpose::letters, 1, 0}, a}, 0, true), kept)), other));
  CHECK_THROWS_AS(static_cast<void>(gatekeeper.admit(read(for_letters, kept))), Error);
  CHECK(of_letters.admit(read(for_letters, kept)).purpose == Purpose::letters);
}

TEST_CASE("another version is refused by name, on both sides") {
  Scene scene;
  Stranger newer(scene.server->port());
  newer.send(header_with([](Bytes& frame) { frame[4] = std::byte{9}; }));
  const auto words = newer.last_words();
  REQUIRE(words);
  CHECK(words->message.find("version 9") != std::string::npos);
  scene.check_served();
}

TEST_CASE("what is no frame, too long, or out of place closes the connection") {
  Scene scene;
  const Bytes greeting = encode(Greeting{}, 0, true)[0]->flat();
  const std::array<Bytes, 7> nonsense{
      secret("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
      Bytes(4096, std::byte{0xff}),
      Bytes(4096, std::byte{0}),
      changed(greeting, 20, std::byte{0xff}),                          // the header's checksum does not fit
      header_with([](Bytes& frame) { frame[22] = std::byte{0x01}; }),  // 64 KB before the handshake is over
      header_with([](Bytes& frame) { frame[23] = std::byte{0xff}; }),  // 4 GB
      encode(Leave{}, 0, true)[0]->flat()};
  for (const Bytes& bytes : nonsense) {
    Stranger stranger(scene.server->port());
    stranger.send(bytes);
    CHECK(stranger.last_words());
  }
  Stranger cut(scene.server->port());
  cut.send(ByteSpan(greeting).first(40));
  for (std::size_t k = 0; k < nonsense.size(); ++k) {  // the same from one that knows the token
    if (k == 4) continue;                              // who may announce 64 KB
    const Bytes& bytes = nonsense[k];
    Stranger insider(scene.server->port());
    insider.shake_hands(1);
    insider.send(bytes);
    CHECK(insider.last_words());
  }
  scene.check_served();
}

TEST_CASE("connections that say nothing, or a byte a second, do not keep others out, and are cut") {
  Scene scene;
  const double begin = now();
  std::vector<std::unique_ptr<Stranger>> silent;
  for (std::size_t k = 0; k < 3 * kHalfOpen; ++k) silent.push_back(std::make_unique<Stranger>(scene.server->port()));
  Worker late(2, sums(kSize), {scene.server->port()});
  late.join();
  scene.check_served();
  CHECK_FALSE(silent.front()->frame());  // had its place longest
  Stranger slow(scene.server->port());
  const Bytes greeting = encode(Greeting{}, 0, true)[0]->flat();
  std::size_t sent = 0;
  while (sent < greeting.size() && now() < begin + kPatience) {
    if (!slow.send(ByteSpan(greeting).subspan(sent++, 1))) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  CHECK(sent < greeting.size());
  CHECK_FALSE(silent.back()->frame());
  scene.check_served();
}

TEST_CASE("a peer that never reads is cut at a bound, whatever it asks for") {
  constexpr std::size_t kLarge = 1'000'000;  // 8 MB
  const auto server = serve(server_config(sums(kLarge), 4));
  Worker worker(3, sums(kLarge), {server->port()});
  worker.join();
  worker.push(1, kLarge);
  static_cast<void>(worker.pull());
  Stranger deaf(server->port(), 4096);
  deaf.shake_hands(1);
  const auto config = server_config(sums(kLarge), 4);
  deaf.send(encode(Hello{0, 0, false, 1, 1, server::layout_of(config.tables, 1), ""}, 1, false));
  const auto welcome = deaf.frame();
  REQUIRE(welcome);
  const auto session = decode<Welcome>(parse_frame(*welcome).payload).session;
  bool cut = false;
  for (std::uint64_t request = 2; request < 1000 && !cut; ++request) {
    cut = !deaf.send(encode(Pull{1, session, 0, 0, 0, false, {}}, request, false));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  CHECK(cut);
  static_cast<void>(worker.pull());
}
