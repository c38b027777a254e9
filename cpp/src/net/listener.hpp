// Accepts connections, and admits peers that prove that they know the token.
#pragma once

#include <asio/awaitable.hpp>   // for awaitable
#include <asio/io_context.hpp>  // for io_context
#include <asio/ip/tcp.hpp>      // for tcp
#include <functional>           // for function
#include <list>                 // for list
#include <memory>               // for shared_ptr
#include <string>               // for string

#include "connection.hpp"
#include "dsgd/net/auth.hpp"

namespace dsgd::net {

/// `listen` binds and listens, so that the port is known and reserved. `run` accepts connections;
/// `enter` takes those that others have accepted. Before its proof a peer has kHandshakeSeconds,
/// frames of at most kHandshakeBytes, and one of kHalfOpen places. If all places are taken, a new
/// peer replaces the peer that has waited longest.
class Listener {
 public:
  /// Serves an admitted peer: a coroutine that lasts as long as the connection.
  using Serve = std::function<asio::awaitable<void>(std::shared_ptr<Connection>, Introduction)>;

  Listener(asio::io_context& context, const Token& token, Tls& tls, Serve serve);

  void listen(const std::string& host, std::uint16_t port);
  asio::awaitable<void> run();
  /// Treats a connection as if `run` had accepted it.
  void enter(asio::ip::tcp::socket socket);
  void close() noexcept;
  [[nodiscard]] const std::string& host() const noexcept { return host_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }  // 0: it does not listen

 private:
  asio::awaitable<void> admit(std::shared_ptr<Connection> connection);
  asio::awaitable<Introduction> shake_hands(std::shared_ptr<Connection> connection);

  asio::ip::tcp::acceptor acceptor_;
  const Token& token_;
  Tls& tls_;
  Serve serve_;
  std::string host_;
  std::uint16_t port_ = 0;
  std::list<std::shared_ptr<Connection>> half_open_;  // in the order of arrival
};

/// Takes over a connected TCP socket of the system. Closes it if it throws Error(config).
[[nodiscard]] asio::ip::tcp::socket socket_of(asio::io_context& context, int descriptor);

}  // namespace dsgd::net
