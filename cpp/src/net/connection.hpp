// One TCP connection that carries frames. Only files of this folder include Asio.
#pragma once

#include <array>                  // for array
#include <asio/awaitable.hpp>     // for awaitable
#include <asio/buffer.hpp>        // for const_buffer
#include <asio/ip/tcp.hpp>        // for tcp
#include <asio/ssl/stream.hpp>    // for stream
#include <asio/steady_timer.hpp>  // for steady_timer
#include <atomic>                 // for atomic
#include <cstddef>                // for byte, size_t
#include <deque>                  // for deque
#include <memory>                 // for enable_shared_from_this, shared_ptr
#include <mutex>                  // for mutex
#include <optional>               // for optional
#include <string>                 // for string
#include <vector>                 // for vector

#include "dsgd/net/messages.hpp"
#include "tls_context.hpp"

namespace dsgd::net {

/// The time of the monotonic clock in seconds, which is also Python's time.monotonic().
[[nodiscard]] double steady_now();

/// The number of bytes received and sent. The threads that move the bytes count them; any thread
/// may read the counts.
struct Traffic {
  std::atomic<std::uint64_t> received{0};
  std::atomic<std::uint64_t> sent{0};
};

/// At most one coroutine reads and one writes. Methods marked "Any thread" may be called by any
/// thread, all others only by the thread that runs the context. Errors of the system are thrown as
/// std::system_error, errors of the peer as Error(protocol).
///
/// Coroutines take lvalues: GCC 12 destroys temporaries of a co_await expression twice (GCC bug
/// 99576).
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  explicit Connection(asio::ip::tcp::socket socket);

  /// Performs the TLS handshake if TLS is used. `host` is the expected name of the other side.
  asio::awaitable<void> secure(Tls& tls, asio::ssl::stream_base::handshake_type role, const std::string& host);
  /// Reads the next frame, and returns the message if the frame completes one. A payload of more
  /// than `limit` bytes is refused before memory is allocated for it.
  asio::awaitable<std::optional<Message>> receive(Assembler& assembler, std::size_t limit);
  /// Reads the next message, which must be one frame within the limits of a handshake.
  asio::awaitable<Message> receive_handshake();
  /// Writes all frames. Must not be called while `write_queue` runs.
  asio::awaitable<void> write(const std::vector<Frame>& frames);
  /// Writes queued frames until the connection is closed. Never throws.
  asio::awaitable<void> write_queue();
  /// Sends a Failure with the reason, and ends the connection. Must not be called while
  /// `write_queue` runs.
  asio::awaitable<void> refuse(FailureKind kind, std::uint32_t worker, const std::string& why);
  /// Closes the connection when the peer has read everything and closed its side, or after a
  /// second. Must not be called while `write_queue` runs.
  asio::awaitable<void> end();
  /// Reads and discards bytes until the peer closes the connection, or for a second. Unread bytes
  /// would reset the connection, and the last bytes sent could be lost.
  asio::awaitable<void> drain();

  /// Any thread. Queues frames.
  void send(const std::vector<Frame>& frames);
  /// Any thread. The number of bytes that are queued and not yet handed to the system.
  [[nodiscard]] std::size_t queued() const;
  /// Closes the connection when the queue is written, at the latest after kHandshakeSeconds.
  void finish();
  /// Closes the connection after `seconds`. Another call replaces the time; a negative number
  /// cancels it.
  void close_after(double seconds);
  void close() noexcept;
  [[nodiscard]] bool open() const { return socket_.is_open(); }
  /// The times at which bytes were last received, and last sent.
  [[nodiscard]] double last_received() const noexcept { return last_received_; }
  [[nodiscard]] double last_written() const noexcept { return last_written_; }

  /// Counts all further bytes in `traffic`.
  void count_in(std::shared_ptr<Traffic> traffic) { traffic_ = std::move(traffic); }
  [[nodiscard]] std::string peer_name() const;

 private:
  /// Fills `to` with bytes of the peer. Returns their checksum if `checksum`, otherwise 0.
  asio::awaitable<std::uint32_t> fill(std::span<std::byte> to, bool checksum);
  asio::awaitable<std::size_t> read_some(std::span<std::byte> to);
  [[nodiscard]] std::vector<Frame> take_batch();
  /// Hands small frames to the system at once, which saves waking the thread, and queues the bytes
  /// that the system does not take. Returns whether the system took all bytes. The caller holds the
  /// lock.
  bool send_at_once(const std::vector<Frame>& frames);
  void wake();

  asio::ip::tcp::socket socket_;
  std::optional<asio::ssl::stream<asio::ip::tcp::socket&>> tls_;
  asio::steady_timer wake_;  // never expires: cancelled to wake the writer
  asio::steady_timer deadline_;
  std::array<std::byte, std::size_t{64} << 10U> input_;
  std::size_t input_begin_ = 0;
  std::size_t input_end_ = 0;
  mutable std::mutex mutex_;  // guards queue_, queued_ and writer_sleeps_
  std::deque<Frame> queue_;
  std::size_t queued_ = 0;
  bool writer_sleeps_ = false;
  bool finishing_ = false;
  std::shared_ptr<Traffic> traffic_ = std::make_shared<Traffic>();
  double last_received_;
  std::atomic<double> last_written_;
};

/// "127.0.0.1:80" or "[::1]:80" as its two parts. Throws Error(config).
struct HostAndPort {
  std::string host;
  std::uint16_t port;
};
[[nodiscard]] HostAndPort split_address(const std::string& address);
/// The same for an address to listen at, which may lack the port: 0, any free one.
[[nodiscard]] HostAndPort split_listen_address(const std::string& address);
[[nodiscard]] std::string join_address(const std::string& host, std::uint16_t port);

/// Connects within `seconds`.
asio::awaitable<std::shared_ptr<Connection>> connect(const HostAndPort& address, double seconds);

/// Performs the caller's side of the handshake, within kHandshakeSeconds.
asio::awaitable<void> introduce(std::shared_ptr<Connection> connection, const Token& token, Tls& tls,
                                const std::string& host, Introduction who);

}  // namespace dsgd::net
