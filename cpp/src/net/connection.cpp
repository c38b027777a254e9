#include "connection.hpp"

#include <algorithm>  // for copy_n, min
#include <asio/connect.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <charconv>  // for from_chars
#include <chrono>    // for duration, steady_clock
#include <utility>   // for exchange, move

#include "dsgd/net/auth.hpp"

namespace dsgd::net {

using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;

namespace {

constexpr double kLinger = 1;       // seconds in which a peer may read what was sent last
constexpr std::size_t kBatch = 64;  // frames handed to the system at once

std::chrono::steady_clock::duration seconds(double value) {
  constexpr double kMost = 1e9;  // beyond it the clock's numbers end
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(std::min(value, kMost)));
}

}  // namespace

double steady_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Connection::Connection(tcp::socket socket)
    : socket_(std::move(socket)),
      wake_(socket_.get_executor(), std::chrono::steady_clock::time_point::max()),
      deadline_(socket_.get_executor()),
      last_received_(steady_now()),
      last_written_(last_received_) {
  socket_.set_option(tcp::no_delay(true));
  socket_.non_blocking(true);
}

awaitable<std::size_t> Connection::read_some(std::span<std::byte> to) {
  const std::size_t count = co_await socket_.async_read_some(asio::buffer(to.data(), to.size()), use_awaitable);
  last_received_ = steady_now();
  traffic_->received += count;
  co_return count;
}

/// Small reads go through a buffer, so that small frames cost one call of the system; large ones straight to `to`.
awaitable<void> Connection::fill(std::span<std::byte> to) {
  while (!to.empty()) {
    if (input_begin_ < input_end_) {
      const std::size_t count = std::min(to.size(), input_end_ - input_begin_);
      std::copy_n(input_.data() + input_begin_, count, to.data());
      input_begin_ += count;
      to = to.subspan(count);
    } else if (to.size() >= input_.size()) {
      const std::size_t count = co_await read_some(to);
      to = to.subspan(count);
    } else {
      input_end_ = co_await read_some(input_);
      input_begin_ = 0;
    }
  }
}

awaitable<Bytes> Connection::receive(std::size_t limit) {
  Bytes frame(kHeaderBytes);
  co_await fill(frame);
  const FrameHeader header = parse_header(frame);
  if (header.length > limit) {
    malformed("a frame of " + std::to_string(header.length) + " bytes; at most " + std::to_string(limit) +
              " are taken now");
  }
  frame.resize(kHeaderBytes + header.length);
  co_await fill(std::span(frame).subspan(kHeaderBytes));
  co_return frame;
}

awaitable<void> Connection::refuse(FailureKind kind, std::uint32_t worker, const std::string& why) {
  close_after(kLinger);
  try {
    const auto frames = encode(Failure{kind, worker, why}, 0, true);
    co_await write(frames);
  } catch (const std::system_error&) {
    close();
  }
  co_await end();
}

awaitable<void> Connection::end() {
  asio::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  co_await drain();
}

awaitable<void> Connection::drain() {
  close_after(kLinger);
  try {
    while (open()) co_await read_some(input_);
  } catch (const std::system_error&) {
    close();
  }
}

std::vector<Frame> Connection::take_batch() {
  const std::lock_guard lock(mutex_);
  const std::size_t count = std::min(queue_.size(), kBatch);
  const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<Frame> batch(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
  queue_.erase(queue_.begin(), end);
  writer_sleeps_ = batch.empty();
  return batch;
}

awaitable<void> Connection::write(const std::vector<Frame>& frames) {
  std::vector<asio::const_buffer> buffers;
  for (const Frame& frame : frames) buffers.emplace_back(frame->data(), frame->size());
  const std::size_t count = co_await asio::async_write(socket_, buffers, use_awaitable);
  last_written_ = steady_now();
  traffic_->sent += count;
}

awaitable<void> Connection::write_queue() {
  const auto self = shared_from_this();
  try {
    while (open()) {
      const std::vector<Frame> batch = take_batch();
      if (batch.empty()) {
        if (finishing_) {
          socket_.shutdown(tcp::socket::shutdown_send);
          co_return close_after(kLinger);
        }
        asio::error_code woken;
        co_await wake_.async_wait(asio::redirect_error(use_awaitable, woken));
        continue;
      }
      co_await write(batch);
      const std::lock_guard lock(mutex_);
      for (const Frame& frame : batch) queued_ -= frame->size();
    }
  } catch (const std::system_error&) {
    close();
  }
}

void Connection::send(const std::vector<Frame>& frames) {
  if (frames.empty()) return;
  bool wakes = false;
  {
    const std::lock_guard lock(mutex_);
    for (const Frame& frame : frames) {
      queue_.push_back(frame);
      queued_ += frame->size();
    }
    wakes = std::exchange(writer_sleeps_, false);
  }
  if (wakes) asio::post(socket_.get_executor(), [self = shared_from_this()] { self->wake(); });
}

std::size_t Connection::queued() const {
  const std::lock_guard lock(mutex_);
  return queued_;
}

void Connection::wake() { wake_.cancel(); }

void Connection::finish() {
  finishing_ = true;
  close_after(kHandshakeSeconds);
  wake();
}

void Connection::close_after(double after) {
  if (after < 0) {
    deadline_.cancel();
    return;
  }
  deadline_.expires_after(seconds(after));
  deadline_.async_wait([self = shared_from_this()](const asio::error_code& error) {
    if (!error) self->close();
  });
}

void Connection::close() noexcept {
  asio::error_code ignored;
  socket_.close(ignored);
  deadline_.cancel();
  wake_.cancel();
}

std::string Connection::peer_name() const {
  asio::error_code error;
  const auto peer = socket_.remote_endpoint(error);
  return error ? "a peer that is gone" : join_address(peer.address().to_string(), peer.port());
}

HostAndPort split_address(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  const auto refuse = [&]() { throw Error(ErrorCode::config, "'" + address + "' is no address; expected host:port"); };
  if (colon == std::string::npos || colon == 0) refuse();
  std::string host = address.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const char* const end = address.data() + address.size();
  const auto [stop, error] = std::from_chars(address.data() + colon + 1, end, port);
  if (error != std::errc() || stop != end) refuse();
  return {std::move(host), port};
}

std::string join_address(const std::string& host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

awaitable<std::shared_ptr<Connection>> connect(const HostAndPort& address, double within) {
  const auto executor = co_await asio::this_coro::executor;
  auto socket = std::make_shared<tcp::socket>(executor);
  const auto resolver = std::make_shared<tcp::resolver>(executor);
  asio::steady_timer deadline(executor, seconds(within));
  deadline.async_wait([socket, resolver](const asio::error_code& error) {
    if (error) return;
    asio::error_code ignored;
    socket->close(ignored);
    resolver->cancel();
  });
  std::vector<tcp::endpoint> endpoints;
  asio::error_code not_numeric;
  const auto numeric = asio::ip::make_address(address.host, not_numeric);
  if (not_numeric) {
    const auto found = co_await resolver->async_resolve(address.host, std::to_string(address.port), use_awaitable);
    for (const auto& entry : found) endpoints.push_back(entry.endpoint());
  } else {
    endpoints.emplace_back(numeric, address.port);
  }
  co_await asio::async_connect(*socket, endpoints, use_awaitable);
  co_return std::make_shared<Connection>(std::move(*socket));
}

Message message_of(ByteSpan frame) {
  const auto [header, payload] = parse_frame(frame);
  if (header.pieces != 1) malformed("a handshake has no pieces");
  return {header.type, header.request, payload, {}};
}

awaitable<void> introduce(std::shared_ptr<Connection> connection, const Token& token, Introduction who) {
  connection->close_after(kHandshakeSeconds);
  const Caller caller(token, who, fresh_nonce());
  const auto greeting = caller.greet();
  co_await connection->write(greeting);
  const Bytes challenge = co_await connection->receive(kHandshakeBytes);
  const Message message = message_of(challenge);
  if (message.type == MessageType::failure) malformed(decode<Failure>(message.body).message);
  const auto proof = caller.answer(message);
  co_await connection->write(proof);
  connection->close_after(-1);
}

}  // namespace dsgd::net
