// One worker's side on TCP: the state machine of client.hpp, its connections to shards and peers, and a thread.
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
  std::vector<std::pair<std::string, std::uint16_t>> shards;  // host and port, in the order of the shards
  std::optional<std::string> listen;                          // host or host:port for letters of other workers
  TlsOptions tls;
};

/// Every method may be called by any thread. A command waits while too many bytes are unacknowledged; it throws
/// Error(deadline) when that takes longer than the client's deadline.
class TcpClient {
 public:
  /// Of `config`, the address, the number of shards and when to send again are the driver's to set.
  TcpClient(server::ClientConfig config, TcpClientOptions options);
  ~TcpClient();
  TcpClient(const TcpClient&) = delete;
  TcpClient& operator=(const TcpClient&) = delete;

  void start();
  /// Writes what is queued, for at most `seconds`, closes all connections and ends the thread.
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
  /// A letter straight to another worker. Lost if the connection breaks while it is on the way.
  void send(std::uint32_t peer, Values values, const std::string& name);

  [[nodiscard]] std::uint32_t worker() const;
  [[nodiscard]] std::uint64_t own_clock() const;
  [[nodiscard]] bool ready() const;
  [[nodiscard]] std::size_t unacknowledged() const;
  /// Where it listens for letters, or nothing.
  [[nodiscard]] const std::string& address() const;
  [[nodiscard]] std::uint64_t bytes_sent() const;
  [[nodiscard]] std::uint64_t bytes_received() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dsgd::net
