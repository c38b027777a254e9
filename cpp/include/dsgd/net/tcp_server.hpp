// One shard of the parameter server on TCP: the state machine of server.hpp, its connections, and a
// thread of its own.
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
  Bytes token;                     // the secret that workers must share
  std::string host = "127.0.0.1";  // empty: listens nowhere, and serves connections that it adopts
  std::uint16_t port = 0;          // 0: any free port
  /// When the slowest worker finishes one of these clocks, there is an event with a snapshot.
  std::set<std::uint64_t> snapshot_clocks;
  std::string snapshot_table = "weights";
  std::uint64_t checkpoint_every = 0;  // clocks from one checkpoint to the next; 0: none
  TlsOptions tls;
};

struct ServerEvent {
  enum class Kind : std::uint8_t {
    clock,       // a clock of `snapshot_clocks` is finished; `values` is the snapshot
    checkpoint,  // a checkpoint of `checkpoint_every` is due; `checkpoint` holds it
    members,     // a worker joined, left or was lost
    finished,    // every worker has left or is lost
    failed,      // the server has stopped; `message` is the reason
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
  std::uint64_t received;  // bytes from the worker
  std::uint64_t sent;      // bytes to the worker
};

/// Every method may be called by any thread.
class TcpServer {
 public:
  /// Binds and listens, unless the host is empty; `start` begins to accept connections. Throws
  /// Error(config), or Error(io) if it cannot listen.
  TcpServer(server::ServerConfig config, TcpServerOptions options, const server::Checkpoint* checkpoint = nullptr);
  ~TcpServer();
  TcpServer(const TcpServer&) = delete;
  TcpServer& operator=(const TcpServer&) = delete;

  [[nodiscard]] const std::string& host() const;
  [[nodiscard]] std::uint16_t port() const;  // 0: it does not listen

  void start();
  /// Serves a connection that another listener has accepted, as if this server had accepted it.
  /// `descriptor` is a connected TCP socket, from which nothing may have been read. From now on it
  /// belongs to the server, which closes it in every case; after `stop` at once, and if it is no
  /// TCP socket, for which Error(config) is thrown. Before `start` the connection waits.
  void adopt(int descriptor);
  /// Writes the queued frames, for at most `seconds`, closes all connections and ends the thread.
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
