#include "connection.hpp"

#include <sys/socket.h>

#include <algorithm>  // for copy_n, find_if, max, min
#include <asio/connect.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/ssl/host_name_verification.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <charconv>  // for from_chars
#include <chrono>    // for duration, steady_clock
#include <utility>   // for exchange, move

#include "dsgd/net/auth.hpp"
#include "dsgd/net/crc32c.hpp"

namespace dsgd::net {

using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;

namespace {

constexpr double kLinger = 1;                            // seconds for the peer to finish
constexpr std::size_t kBatch = 64;                       // most frames handed to the system at once
constexpr std::size_t kAtOnce = std::size_t{64} << 20U;  // most bytes handed to the system at once

std::chrono::steady_clock::duration seconds(double value) {
  constexpr double kMost = 1e9;  // larger values overflow the clock's type
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

awaitable<void> Connection::secure(Tls& tls, asio::ssl::stream_base::handshake_type role, const std::string& host) {
  if (!tls.used()) co_return;
  tls_.emplace(socket_, tls.context());
  if (tls.checks_host() && role == asio::ssl::stream_base::client) {
    tls_->set_verify_callback(asio::ssl::host_name_verification(host));
  }
  co_await tls_->async_handshake(role, use_awaitable);
}

awaitable<std::size_t> Connection::read_some(std::span<std::byte> to) {
  const auto buffer = asio::buffer(to.data(), to.size());
  std::size_t count = 0;
  if (tls_) {
    count = co_await tls_->async_read_some(buffer, use_awaitable);
  } else {
    count = co_await socket_.async_read_some(buffer, use_awaitable);
  }
  last_received_ = steady_now();
  traffic_->received += count;
  co_return count;
}

/// Small reads go through a buffer, so that several small frames cost one system call. Large reads
/// go directly to `to`. The checksum is computed right after each read, while the bytes are in the
/// cache.
awaitable<std::uint32_t> Connection::fill(std::span<std::byte> to, bool checksum) {
  std::uint32_t crc = 0;
  while (!to.empty()) {
    std::size_t count = 0;
    if (input_begin_ < input_end_) {
      count = std::min(to.size(), input_end_ - input_begin_);
      std::copy_n(input_.data() + input_begin_, count, to.data());
      input_begin_ += count;
    } else if (to.size() >= input_.size()) {
      count = co_await read_some(to);
    } else {
      input_end_ = co_await read_some(input_);
      input_begin_ = 0;
      continue;
    }
    if (checksum) crc = crc32c(to.first(count), crc);
    to = to.subspan(count);
  }
  co_return crc;
}

awaitable<std::optional<Message>> Connection::receive(Assembler& assembler, std::size_t limit) {
  std::array<std::byte, kHeaderBytes> bytes;
  co_await fill(bytes, false);
  const FrameHeader header = parse_header(bytes);
  if (header.length > limit) {
    malformed("a frame of " + std::to_string(header.length) + " bytes; at most " + std::to_string(limit) +
              " are taken now");
  }
  const std::span<std::byte> room = assembler.room(header);
  const std::uint32_t crc = co_await fill(room, header.checksum);
  co_return assembler.filled(header, crc);
}

awaitable<Message> Connection::receive_handshake() {
  Assembler whole(kHandshakeBytes);
  auto message = co_await receive(whole, kHandshakeBytes);
  if (!message) malformed("a handshake has no pieces");
  co_return std::move(*message);
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
  const std::scoped_lock lock(mutex_);
  // The next checksums are computed while the system sends this piece.
  std::size_t checked = 0;
  const auto most = queue_.begin() + static_cast<std::ptrdiff_t>(std::min(queue_.size(), kBatch));
  const auto end = std::find_if(queue_.begin(), most, [&checked](const Frame& frame) {
    return std::exchange(checked, checked + frame->checked_bytes()) >= kPieceBytes;
  });
  std::vector<Frame> batch(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
  queue_.erase(queue_.begin(), end);
  writer_sleeps_ = batch.empty();
  return batch;
}

awaitable<void> Connection::write(const std::vector<Frame>& frames) {
  std::vector<asio::const_buffer> buffers;
  for (const Frame& frame : frames) {
    buffers.emplace_back(frame->head().data(), frame->head().size());
    for (const Slice& slice : frame->tail()) buffers.emplace_back(slice.bytes.data(), slice.bytes.size());
  }
  // Asio's default condition hands at most 64 KB at a time to the system, which halves the speed
  // (docs/design/network.md).
  const auto all = [](const asio::error_code& error, std::size_t /*done*/) { return error ? 0 : kAtOnce; };
  std::size_t count = 0;
  if (tls_) {
    count = co_await asio::async_write(*tls_, buffers, all, use_awaitable);
  } else {
    count = co_await asio::async_write(socket_, buffers, all, use_awaitable);
  }
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
      const std::scoped_lock lock(mutex_);
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
    const std::scoped_lock lock(mutex_);
    if (send_at_once(frames)) return;
    wakes = std::exchange(writer_sleeps_, false);
  }
  if (wakes) asio::post(socket_.get_executor(), [self = shared_from_this()] { self->wake(); });
}

bool Connection::send_at_once(const std::vector<Frame>& frames) {
  constexpr std::size_t kSmall = std::size_t{16} << 10U;
  std::size_t total = 0;
  for (const Frame& frame : frames) total += frame->size();
  const bool idle = writer_sleeps_ && queue_.empty() && !tls_ && socket_.is_open();
  if (!idle || total > kSmall) {
    queue_.insert(queue_.end(), frames.begin(), frames.end());
    queued_ += total;
    return false;
  }
  Bytes bytes;
  bytes.reserve(total);
  for (const Frame& frame : frames) {
    const Bytes flat = frame->flat();
    bytes.insert(bytes.end(), flat.begin(), flat.end());
  }
  // Not through Asio: an Asio socket belongs to one thread.
  const ssize_t taken = ::send(socket_.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  // An error is reported when the thread writes.
  const auto count = static_cast<std::size_t>(std::max<ssize_t>(taken, 0));
  traffic_->sent += count;
  last_written_ = steady_now();
  if (count == total) return true;
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
  queue_.push_back(std::make_shared<const FrameData>(std::move(bytes)));
  queued_ += total - count;
  return false;
}

std::size_t Connection::queued() const {
  const std::scoped_lock lock(mutex_);
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
  {
    const std::scoped_lock lock(mutex_);  // another thread may be sending
    socket_.close(ignored);
  }
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
  const auto refuse = [&] { throw Error(ErrorCode::config, "'" + address + "' is no address; expected host:port"); };
  if (colon == std::string::npos || colon == 0) refuse();
  std::string host = address.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const char* const end = address.data() + address.size();
  const auto [stop, error] = std::from_chars(address.data() + colon + 1, end, port);
  if (error != std::errc() || stop != end) refuse();
  return {std::move(host), port};
}

HostAndPort split_listen_address(const std::string& address) {
  const bool only_v6 = address.find(':') != address.rfind(':') && address.back() != ']' && address.front() != '[';
  if (only_v6 || address.find(':') == std::string::npos) return {address, 0};
  return split_address(address);
}

std::string join_address(const std::string& host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

awaitable<std::shared_ptr<Connection>> connect(const HostAndPort& address, double within) {
  const auto executor = co_await asio::this_coro::executor;
  const auto socket = std::make_shared<tcp::socket>(executor);
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

awaitable<void> introduce(std::shared_ptr<Connection> connection, const Token& token, Tls& tls, const std::string& host,
                          Introduction who) {
  connection->close_after(kHandshakeSeconds);
  co_await connection->secure(tls, asio::ssl::stream_base::client, host);
  const Caller caller(token, who, fresh_nonce());
  const auto greeting = caller.greet();
  co_await connection->write(greeting);
  const Message message = co_await connection->receive_handshake();
  if (message.type == MessageType::failure) malformed(decode<Failure>(message.body).message);
  const auto proof = caller.answer(message);
  co_await connection->write(proof);
  connection->close_after(-1);
}

}  // namespace dsgd::net
