// One shard of the parameter server on TCP: the state machine of server.hpp, its connections, and a thread of its own.
#pragma once

#include <cstdint>  // for uint16_t, uint32_t, uint64_t
#include <memory>   // for unique_ptr
#include <set>      // for set
#include <string>   // for string
#include <vector>   // for vector

#include "dsgd/net/tls.hpp"
#include "dsgd/server/server.hpp"

namespace dsgd::net {

struct TcpServerOptions {
  Bytes token;  // what workers must know, too
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;                   // 0: any that is free
  std::set<std::uint64_t> snapshot_clocks;  // an event with a snapshot when the slowest worker has finished them
  std::string snapshot_table = "weights";
  std::uint64_t checkpoint_every = 0;  // clocks; 0: never
  TlsOptions tls;
};

struct ServerEvent {
  enum class Kind : std::uint8_t {
    clock,       // the slowest worker has finished a clock of `snapshot_clocks`: `values` as of then
    checkpoint,  // likewise of `checkpoint_every`: `checkpoint`
    members,     // somebody came, left or was lost
    finished,    // everybody has left or is lost
    failed,      // `message` says why; nothing goes on
  };
  Kind kind;
  double time;  // seconds of the steady clock
  std::uint64_t clock = 0;
  std::optional<Numbers> values;
  std::optional<server::Checkpoint> checkpoint;
  std::string message;
};

struct WorkerTraffic {
  std::uint32_t worker;
  std::uint64_t received;  // bytes from it
  std::uint64_t sent;      // and to it
};

/// Every method may be called by any thread.
class TcpServer {
 public:
  /// Binds and listens; nothing is accepted before `start`. Throws Error(config), or Error(io) if it cannot listen.
  TcpServer(server::ServerConfig config, TcpServerOptions options, const server::Checkpoint* checkpoint = nullptr);
  ~TcpServer();
  TcpServer(const TcpServer&) = delete;
  TcpServer& operator=(const TcpServer&) = delete;

  [[nodiscard]] const std::string& host() const;
  [[nodiscard]] std::uint16_t port() const;

  void start();
  /// Writes what is queued, for at most `seconds`, closes all connections and ends the thread.
  void stop(double seconds);
  /// Waits until there are events, at most `seconds`.
  [[nodiscard]] std::vector<ServerEvent> wait(double seconds);

  void assign(const std::string& table, const Numbers& values);
  [[nodiscard]] server::RowRange range(const std::string& table) const;
  [[nodiscard]] Numbers snapshot(const std::string& table) const;
  [[nodiscard]] server::Checkpoint checkpoint() const;
  [[nodiscard]] std::vector<server::ReportEntry> take_reports();
  [[nodiscard]] std::vector<std::uint32_t> take_order();
  [[nodiscard]] std::vector<MemberState> members() const;
  [[nodiscard]] Clocks clocks() const;  // `own` is 0
  [[nodiscard]] bool finished() const;
  [[nodiscard]] std::optional<std::string> failed() const;
  [[nodiscard]] std::uint64_t incarnation() const;
  [[nodiscard]] std::vector<WorkerTraffic> traffic() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dsgd::net
