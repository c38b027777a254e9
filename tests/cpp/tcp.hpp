// Servers, workers and strangers on loopback.
#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "dsgd/net/auth.hpp"
#include "dsgd/net/tcp_client.hpp"
#include "dsgd/net/tcp_server.hpp"

namespace dsgd::test {

inline constexpr double kPatience = 60;  // seconds; the sanitizers are slow

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline net::Bytes secret(std::string_view text = "0123456789abcdef0123456789abcdef") {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

inline std::vector<server::TableSpec> sums(std::uint64_t size) {
  return {{.name = "weights", .size = size, .dtype = net::DType::float64, .rule = server::Rule::add}};
}

inline server::ServerConfig server_config(std::vector<server::TableSpec> tables, std::uint32_t n_workers = 1) {
  server::ServerConfig config;
  config.tables = std::move(tables);
  config.n_workers = n_workers;
  config.staleness = std::nullopt;
  return config;
}

inline std::unique_ptr<net::TcpServer> serve(server::ServerConfig config, std::uint16_t port = 0) {
  net::TcpServerOptions options;
  options.token = secret();
  options.port = port;
  auto server = std::make_unique<net::TcpServer>(std::move(config), std::move(options));
  server->start();
  return server;
}

/// A worker, and what it was told and nobody has asked for.
class Worker {
 public:
  Worker(std::uint32_t rank, std::vector<server::TableSpec> tables, std::vector<std::uint16_t> ports,
         const net::Bytes& token = secret(), server::ClientConfig config = {}, const net::TlsOptions& tls = {}) {
    config.worker = rank;
    config.tables = std::move(tables);
    net::TcpClientOptions options;
    options.token = token;
    options.listen = "127.0.0.1";
    options.tls = tls;
    for (const std::uint16_t port : ports) options.shards.emplace_back("127.0.0.1", port);
    client_ = std::make_unique<net::TcpClient>(std::move(config), std::move(options));
    client_->start();
  }

  net::TcpClient& client() { return *client_; }

  server::Answer wait_for(server::AnswerKind kind, std::uint64_t request = 0) {
    const double end = now() + kPatience;
    while (true) {
      for (auto at = kept_.begin(); at != kept_.end(); ++at) {
        if (at->kind != kind || (request != 0 && at->request != request)) continue;
        server::Answer answer = std::move(*at);
        kept_.erase(at);
        return answer;
      }
      if (now() > end) throw std::runtime_error("no answer of kind " + std::to_string(static_cast<int>(kind)));
      for (auto& answer : client_->wait(0.5)) kept_.push_back(std::move(answer));
    }
  }
  void join() { wait_for(server::AnswerKind::joined); }
  net::Numbers pull(const std::string& table = "weights") {
    const auto request = client_->pull(now(), client_->own_clock(), table, std::nullopt);
    return wait_for(server::AnswerKind::pull, request).values->data;
  }
  void push(double value, std::size_t size) {
    client_->push(now(), "weights", {false, {}, std::vector<double>(size, value)}, 1);
  }
  void leave() { wait_for(server::AnswerKind::left, client_->leave(now())); }

 private:
  std::unique_ptr<net::TcpClient> client_;
  std::vector<server::Answer> kept_;
};

/// Listens on loopback, and hands every connection to `hand_on`, which must close it.
class Gate {
 public:
  explicit Gate(std::function<void(int)> hand_on) : hand_on_(std::move(hand_on)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);  // NOLINT
    REQUIRE(::listen(listener_, 256) == 0);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);  // NOLINT
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~Gate() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
  }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  void accept_all() {
    for (int from = ::accept(listener_, nullptr, nullptr); from >= 0; from = ::accept(listener_, nullptr, nullptr)) {
      hand_on_(from);
    }
  }

  std::function<void(int)> hand_on_;
  int listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
  std::uint16_t port_ = 0;
  std::thread acceptor_;
};

/// A socket of somebody who does not use our client. Reads give up after kPatience.
class Stranger {
 public:
  explicit Stranger(std::uint16_t port, int receive_buffer = 0) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    REQUIRE(socket_ >= 0);
    const timeval patience{static_cast<time_t>(kPatience), 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (receive_buffer > 0) {
      ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);  // NOLINT
  }
  ~Stranger() { ::close(socket_); }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  /// Whether all was sent.
  bool send(net::ByteSpan bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return true;
  }
  bool send(const std::vector<net::Frame>& frames) {
    bool all = true;
    for (const auto& frame : frames) all = all && send(frame->flat());
    return all;
  }

  bool receive(std::byte& one) { return fill(std::span(&one, 1)); }
  /// The next frame, or nothing once the peer has closed.
  std::optional<net::Bytes> frame() {
    net::Bytes bytes(net::kHeaderBytes);
    if (!fill(bytes)) return std::nullopt;
    const auto header = net::parse_header(bytes);
    bytes.resize(net::kHeaderBytes + header.length);
    if (!fill(std::span(bytes).subspan(net::kHeaderBytes))) return std::nullopt;
    return bytes;
  }

  /// Reads until the peer closes; what it said last, if that was a failure.
  std::optional<net::Failure> last_words() {
    std::optional<net::Failure> failure;
    while (const auto bytes = frame()) {
      const auto view = net::parse_frame(*bytes);
      if (view.header.type == net::MessageType::failure) failure = net::decode<net::Failure>(view.payload);
    }
    return failure;
  }

  /// Whether the peer closes the connection within kPatience, whatever it says before.
  bool closed() {
    std::byte any{};
    ssize_t count = 0;
    while ((count = ::recv(socket_, &any, 1, 0)) > 0) {
    }
    return count == 0 || errno == ECONNRESET;
  }

  /// The handshake of a worker that knows the token. Returns what it has sent.
  net::Bytes shake_hands(std::uint32_t worker = 0) {
    const net::Token token(secret());
    const net::Caller caller(token, {net::Purpose::work, worker, 0}, net::fresh_nonce());
    net::Bytes sent = caller.greet()[0]->flat();
    send(sent);
    const auto challenge = frame();
    REQUIRE(challenge);
    const auto view = net::parse_frame(*challenge);
    const auto proof = caller.answer({view.header.type, 0, {nullptr, view.payload}})[0]->flat();
    send(proof);
    sent.insert(sent.end(), proof.begin(), proof.end());
    return sent;
  }

 private:
  bool fill(std::span<std::byte> to) {
    while (!to.empty()) {
      const ssize_t count = ::recv(socket_, to.data(), to.size(), 0);
      if (count <= 0) return false;
      to = to.subspan(static_cast<std::size_t>(count));
    }
    return true;
  }

  int socket_;
};

}  // namespace dsgd::test
