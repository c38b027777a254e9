// Connections that another listener has accepted: a server treats them as its own.
#include <array>
#include <atomic>

#include "tcp.hpp"

using namespace dsgd;
using namespace dsgd::net;
using namespace dsgd::test;

namespace {

constexpr std::size_t kSize = 4;

/// A server that listens nowhere, and a gate that looks at the first byte of every connection and
/// hands it over.
struct Scene {
  explicit Scene(TlsOptions tls = {})
      : server(server_config(sums(kSize), 2), options(std::move(tls))), gate([this](int from) {
          std::byte first{};
          if (peeks) static_cast<void>(::recv(from, &first, 1, MSG_PEEK));
          server.adopt(from);
        }) {
    server.start();
  }

  static TcpServerOptions options(TlsOptions tls) {
    TcpServerOptions options;
    options.token = secret();
    options.host = "";
    options.tls = std::move(tls);
    return options;
  }

  TcpServer server;
  std::atomic<bool> peeks = true;
  Gate gate;
};

}  // namespace

TEST_CASE("workers whose connections were accepted elsewhere are served, with and without TLS") {
  for (const auto mode : {TlsOptions::Mode::none, TlsOptions::Mode::psk}) {
    TlsOptions tls;
    tls.mode = mode;
    Scene scene(tls);
    CHECK(scene.server.port() == 0);
    Worker one(0, sums(kSize), {scene.gate.port()}, secret(), {}, tls);
    Worker two(1, sums(kSize), {scene.gate.port()}, secret(), {}, tls);
    one.join();
    two.join();
    one.push(2, kSize);
    CHECK(std::get<1>(one.pull())[0] == 2.0);
    two.client().send(0, {false, {}, std::vector<double>{5}}, "");
    CHECK(std::get<1>(one.wait_for(server::AnswerKind::letter).values->data)[0] == 5.0);
    one.leave();
    two.leave();
    CHECK(scene.server.traffic().size() == 2);
  }
}

TEST_CASE("adopted connections of strangers are refused and closed") {
  Scene scene;
  Worker stranger(0, sums(kSize), {scene.gate.port()}, secret("another secret of some length"));
  CHECK(stranger.wait_for(server::AnswerKind::failed).name == "authentication");
  Stranger browser(scene.gate.port());
  browser.send(secret("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  CHECK(browser.last_words());
  CHECK(browser.closed());
  Worker worker(1, sums(kSize), {scene.gate.port()});
  worker.join();
}

TEST_CASE("adopted connections that say nothing share the places of half-open ones") {
  Scene scene;
  scene.peeks = false;
  std::vector<std::unique_ptr<Stranger>> silent;
  for (std::size_t k = 0; k < 2 * kHalfOpen; ++k) silent.push_back(std::make_unique<Stranger>(scene.gate.port()));
  Worker worker(0, sums(kSize), {scene.gate.port()});
  worker.join();
  CHECK(silent.front()->closed());  // has lost its place
  CHECK(silent.back()->closed());   // at the deadline of the handshake
}

TEST_CASE("what is adopted while the server stops, and after that, is closed") {
  for (int k = 0; k < 20; ++k) {
    Scene scene;
    scene.peeks = false;
    std::vector<std::unique_ptr<Stranger>> strangers;
    std::thread stopper([&] { scene.server.stop(0); });
    for (int i = 0; i < 20; ++i) strangers.push_back(std::make_unique<Stranger>(scene.gate.port()));
    stopper.join();
    strangers.push_back(std::make_unique<Stranger>(scene.gate.port()));
    for (const auto& stranger : strangers) CHECK(stranger->closed());
  }
}

TEST_CASE("what is adopted before the start waits for it, or is closed by a stop") {
  for (const bool starts : {true, false}) {
    TcpServer server(server_config(sums(kSize)), Scene::options({}));
    const Gate gate([&](int from) { server.adopt(from); });
    Stranger early(gate.port());
    early.send(encode(Greeting{}, 0, true));
    if (starts) server.start();
    if (!starts) server.stop(0);
    CHECK(early.frame().has_value() == starts);
  }
}

TEST_CASE("what is no TCP socket is refused, and closed too") {
  TcpServer server(server_config(sums(kSize)), Scene::options({}));
  std::array<int, 2> pair{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()) == 0);
  CHECK_THROWS_WITH_AS(server.adopt(pair[1]), doctest::Contains("is no TCP socket"), Error);
  std::byte any{};
  CHECK(::recv(pair[0], &any, 1, 0) == 0);
  ::close(pair[0]);
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  CHECK_THROWS_WITH_AS(server.adopt(pipe[1]), doctest::Contains("is no TCP socket"), Error);
  CHECK(::read(pipe[0], &any, 1) == 0);
  ::close(pipe[0]);
  CHECK_THROWS_AS(server.adopt(-1), Error);
}

TEST_CASE("a port without a host to listen at is refused") {
  auto options = Scene::options({});
  options.port = 80;
  CHECK_THROWS_WITH_AS(TcpServer(server_config(sums(kSize)), options), doctest::Contains("port 80 without a host"),
                       Error);
}
