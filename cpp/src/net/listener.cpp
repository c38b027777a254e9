#include "listener.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <chrono>   // for milliseconds
#include <utility>  // for move

#include "io_thread.hpp"

namespace dsgd::net {

using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;

Listener::Listener(asio::io_context& context, const Token& token, Tls& tls, Serve serve)
    : acceptor_(context), token_(token), tls_(tls), serve_(std::move(serve)) {}

void Listener::listen(const std::string& host, std::uint16_t port) {
  const auto refuse = [&](const asio::error_code& error) {
    throw Error(join_address(host, port), error.value(),
                "cannot listen at " + join_address(host, port) + ": " + error.message());
  };
  asio::error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (error) throw Error(ErrorCode::config, "'" + host + "' is no numeric address to listen at; try 127.0.0.1");
  const tcp::endpoint endpoint(address, port);
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
  if (error) refuse(error);
  host_ = host;
  port_ = acceptor_.local_endpoint().port();
}

void Listener::close() noexcept {
  asio::error_code ignored;
  acceptor_.close(ignored);
  for (const auto& connection : half_open_) connection->close();
}

awaitable<void> Listener::run() {
  while (acceptor_.is_open()) {
    asio::error_code error;
    tcp::socket socket = co_await acceptor_.async_accept(asio::redirect_error(use_awaitable, error));
    if (!acceptor_.is_open()) co_return;
    if (error) {  // perhaps no file descriptors are left: wait for others to close
      asio::steady_timer pause(acceptor_.get_executor(), std::chrono::milliseconds(100));
      co_await pause.async_wait(asio::redirect_error(use_awaitable, error));
      continue;
    }
    enter(std::move(socket));
  }
}

void Listener::enter(tcp::socket socket) {
  std::shared_ptr<Connection> connection;
  try {
    connection = std::make_shared<Connection>(std::move(socket));
  } catch (const std::system_error&) {
    return;  // the peer has closed already
  }
  if (half_open_.size() == kHalfOpen) {
    half_open_.front()->close();
    half_open_.pop_front();
  }
  half_open_.push_back(connection);
  spawn(acceptor_.get_executor(), admit(connection));
}

awaitable<void> Listener::admit(std::shared_ptr<Connection> connection) {
  connection->close_after(kHandshakeSeconds);
  bool admitted = false;
  Introduction who;
  std::string fault;
  try {
    who = co_await shake_hands(connection);
    admitted = true;
  } catch (const Error& error) {
    fault = error.what();
  } catch (const std::system_error&) {
    connection->close();
  }
  if (!admitted && connection->open()) {
    co_await connection->refuse(FailureKind::protocol, 0, fault);
  }
  half_open_.remove(connection);
  if (!admitted) co_return;
  connection->close_after(-1);
  co_await serve_(connection, who);
}

awaitable<Introduction> Listener::shake_hands(std::shared_ptr<Connection> connection) {
  co_await connection->secure(tls_, asio::ssl::stream_base::server, host_);
  Gatekeeper gatekeeper(token_, fresh_nonce());
  const Message greeting = co_await connection->receive_handshake();
  const auto challenge = gatekeeper.challenge(greeting);
  co_await connection->write(challenge);
  const Message proof = co_await connection->receive_handshake();
  co_return gatekeeper.admit(proof);
}

tcp::socket socket_of(asio::io_context& context, int descriptor) {
  const auto refuse = [&](const std::string& why) {
    ::close(descriptor);
    throw Error(ErrorCode::config,
                "descriptor " + std::to_string(descriptor) + " is no TCP socket: " + why + "; give socket.detach()");
  };
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  asio::error_code error;
  // NOLINTNEXTLINE: how the system takes addresses
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    error.assign(errno, asio::error::get_system_category());
    refuse(error.message());
  }
  const bool v6 = address.ss_family == AF_INET6;
  if (!v6 && address.ss_family != AF_INET) refuse("its address is not of the internet");
  tcp::socket socket(context);
  socket.assign(v6 ? tcp::v6() : tcp::v4(), descriptor, error);
  if (error) refuse(error.message());
  return socket;
}

}  // namespace dsgd::net
