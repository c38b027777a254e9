// One TCP connection that carries frames. Only files of this folder see Asio.
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

/// Seconds of a clock that never falls, the same as Python's time.monotonic().
[[nodiscard]] double steady_now();

/// Bytes that have passed, in both directions; counted where they are moved, read anywhere.
struct Traffic {
  std::atomic<std::uint64_t> received{0};
  std::atomic<std::uint64_t> sent{0};
};

/// Reads and writes of one coroutine each; `send` and what is marked so may be called by any thread, all else by the
/// thread that runs the context. Errors of the system are thrown as std::system_error, of the peer as Error(protocol).
///
/// Coroutines take lvalues: GCC 12 destroys temporaries of a co_await expression twice (GCC bug 99576).
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  explicit Connection(asio::ip::tcp::socket socket);

  /// The handshake of TLS, if it is used; `host` is who should answer.
  asio::awaitable<void> secure(Tls& tls, asio::ssl::stream_base::handshake_type role, const std::string& host);
  /// The next frame, and the message that it completes. A payload of more than `limit` bytes is refused before memory
  /// is taken for it.
  asio::awaitable<std::optional<Message>> receive(Assembler& assembler, std::size_t limit);
  /// The next message, of one frame, within the limits of a handshake.
  asio::awaitable<Message> receive_handshake();
  /// Writes frames, all of them. Not while `write_queue` runs.
  asio::awaitable<void> write(const std::vector<Frame>& frames);
  /// Writes what is queued, until the connection is closed. Never throws.
  asio::awaitable<void> write_queue();
  /// Says why, and ends. Not while `write_queue` runs.
  asio::awaitable<void> refuse(FailureKind kind, std::uint32_t worker, const std::string& why);
  /// Closes when the peer has read all that was written, or after a while. Not while `write_queue` runs.
  asio::awaitable<void> end();
  /// Reads and forgets, so that what was sent last is not lost by a reset: until the peer closes, or a while.
  asio::awaitable<void> drain();

  /// Any thread. Queues frames.
  void send(const std::vector<Frame>& frames);
  /// Any thread. The bytes that are queued and not yet handed to the system.
  [[nodiscard]] std::size_t queued() const;
  /// Closes once the queue is written, after a deadline even if it is not.
  void finish();
  /// Closes after `seconds`, unless that is called again or taken back with a negative number.
  void close_after(double seconds);
  void close() noexcept;
  [[nodiscard]] bool open() const { return socket_.is_open(); }
  /// When bytes last came, and when they last went.
  [[nodiscard]] double last_received() const noexcept { return last_received_; }
  [[nodiscard]] double last_written() const noexcept { return last_written_; }

  /// Where bytes are counted from now on.
  void count_in(std::shared_ptr<Traffic> traffic) { traffic_ = std::move(traffic); }
  [[nodiscard]] std::string peer_name() const;

 private:
  /// Returns the checksum of what was read, or 0 if it is not wanted.
  asio::awaitable<std::uint32_t> fill(std::span<std::byte> to, bool checksum);
  asio::awaitable<std::size_t> read_some(std::span<std::byte> to);
  [[nodiscard]] std::vector<Frame> take_batch();
  /// Under the lock: hands small frames to the system at once, which saves waking the thread. What it does not take is
  /// queued; returns whether it took all.
  bool send_at_once(const std::vector<Frame>& frames);
  void wake();

  asio::ip::tcp::socket socket_;
  std::optional<asio::ssl::stream<asio::ip::tcp::socket&>> tls_;
  asio::steady_timer wake_;  // never expires: cancelled to wake the writer
  asio::steady_timer deadline_;
  std::array<std::byte, std::size_t{64} << 10U> input_;
  std::size_t input_begin_ = 0;
  std::size_t input_end_ = 0;
  mutable std::mutex mutex_;  // of what follows
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
[[nodiscard]] std::string join_address(const std::string& host, std::uint16_t port);

/// Connects within `seconds`.
asio::awaitable<std::shared_ptr<Connection>> connect(const HostAndPort& address, double seconds);

/// The caller's side of the handshake, within its deadline.
asio::awaitable<void> introduce(std::shared_ptr<Connection> connection, const Token& token, Tls& tls,
                                const std::string& host, Introduction who);

}  // namespace dsgd::net
