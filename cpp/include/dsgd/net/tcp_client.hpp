// One worker's side of the parameter server on TCP: the state machine of client.hpp, its
// connections to shards and other workers, and a thread.
#pragma once

#include <cstddef>   // for size_t
#include <cstdint>   // for uint32_t, uint64_t
#include <memory>    // for unique_ptr
#include <optional>  // for optional
#include <string>    // for string
#include <utility>   // for pair
#include <vector>    // for vector

#include "dsgd/net/tls.hpp"
#include "dsgd/server/client.hpp"

namespace dsgd::net {

struct TcpClientOptions {
  Bytes token;
  std::vector<std::pair<std::string, std::uint16_t>> shards;  // host and port, in shard order
  std::optional<std::string> listen;                          // for letters: host or host:port
  std::optional<std::string> advertise;                       // the host that peers connect to; not set: as `listen`
  TlsOptions tls;
};

/// Every method may be called by any thread. A command waits while too many bytes are
/// unacknowledged; it throws Error(deadline) when that takes longer than the client's deadline.
class TcpClient {
 public:
  /// The constructor sets `address`, `n_shards` and `resend_after` of `config`; other values there
  /// are ignored.
  TcpClient(server::ClientConfig config, TcpClientOptions options);
  ~TcpClient();
  TcpClient(const TcpClient&) = delete;
  TcpClient& operator=(const TcpClient&) = delete;

  void start();
  /// Writes the queued frames, for at most `seconds`, closes all connections and ends the thread.
  void stop(double seconds);
  /// Waits until there are answers, at most `seconds`.
  [[nodiscard]] std::vector<server::Answer> wait(double seconds);

  std::uint64_t pull(double now, std::uint64_t clock, const std::string& table, const std::optional<Keys>& keys);
  void push(double now, const std::string& table, Values values, double weight);
  std::uint64_t clock(double now, Bytes state);
  std::uint64_t all_reduce(double now, Values values, bool mean, double weight);
  void signal(double now, const std::string& name);
  void report(double now, Bytes metrics);
  std::uint64_t leave(double now);
  /// Sends a letter directly to another worker. The letter is lost if the connection breaks while
  /// it is on the way.
  void send(std::uint32_t peer, Values values, const std::string& name);

  [[nodiscard]] std::uint32_t worker() const;
  [[nodiscard]] std::uint64_t own_clock() const;
  [[nodiscard]] bool ready() const;
  [[nodiscard]] std::size_t unacknowledged() const;
  /// The address at which the client listens for letters; empty if it does not listen.
  [[nodiscard]] const std::string& address() const;
  [[nodiscard]] std::uint64_t bytes_sent() const;
  [[nodiscard]] std::uint64_t bytes_received() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dsgd::net
