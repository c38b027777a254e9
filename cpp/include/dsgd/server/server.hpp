// One shard of the parameter server, as a state machine. Its inputs are the frames that arrive and
// the time; its outputs are the frames to send. It has no socket, clock or thread. docs/server.md
// states its guarantees, and messages.hpp its messages.
#pragma once

#include <algorithm>  // for max
#include <cstdint>    // for uint32_t, uint64_t
#include <map>        // for map
#include <optional>   // for optional
#include <string>     // for string
#include <tuple>      // for tuple
#include <vector>     // for vector

#include "dsgd/net/messages.hpp"
#include "dsgd/server/all_reduce.hpp"
#include "dsgd/server/checkpoint.hpp"
#include "dsgd/server/signal_board.hpp"
#include "dsgd/server/ssp_clock.hpp"
#include "dsgd/server/table.hpp"

namespace dsgd::server {

/// A number that the driver chooses for a connection and never uses again.
using ConnectionId = std::uint64_t;

/// A frame to be sent. Without a frame: the connection is to be closed.
struct Effect {
  ConnectionId connection;
  net::Frame frame;
};
using Effects = std::vector<Effect>;

struct ServerConfig {
  std::vector<TableSpec> tables;
  std::uint32_t n_workers = 1;             // workers with ranks below it are expected
  std::optional<std::uint64_t> staleness;  // not set: asynchronous
  std::size_t shard = 0;
  std::size_t n_shards = 1;
  std::uint64_t incarnation = 1;     // larger than all earlier ones of this server
  double heartbeat_deadline = 30.0;  // seconds of silence after which a worker is lost
  double join_deadline = 60.0;       // seconds after which an expected worker is lost
  bool fail_on_lost = false;         // whether all fail when a worker is lost
  bool payload_checksum = false;
  net::Wire wire = net::Wire::exact;  // format of answers to pulls
  bool record_order = false;          // whether take_order() is available
};

struct ReportEntry {
  std::uint32_t worker;
  std::uint64_t clock;
  double time;
  net::Bytes metrics;
};

class ParameterServer {
 public:
  static constexpr std::uint32_t kMaxWorkers = 65536;

  ParameterServer(double now, ServerConfig config);
  /// Continues from the checkpoint of an earlier incarnation.
  ParameterServer(double now, ServerConfig config, const Checkpoint& checkpoint);

  [[nodiscard]] Effects connected(double now, ConnectionId connection);
  [[nodiscard]] Effects disconnected(double now, ConnectionId connection);
  [[nodiscard]] Effects receive(double now, ConnectionId connection, net::ByteSpan frame);
  /// The same for a driver that joins pieces itself. `receive` takes a whole message; `heard` tells
  /// that a piece of a message has arrived.
  [[nodiscard]] Effects receive(double now, ConnectionId connection, const net::Message& message);
  void heard(double now, ConnectionId connection);
  [[nodiscard]] Effects tick(double now);
  /// Tells that the driver did not run for `seconds`. The silence of workers during this time does
  /// not count.
  void excuse(double now, double seconds);
  /// The latest time of the next call of `tick`. It may be earlier than necessary.
  [[nodiscard]] double next_deadline() const noexcept { return deadline_; }

  [[nodiscard]] Table& table(const std::string& name);
  [[nodiscard]] Checkpoint checkpoint() const;
  [[nodiscard]] std::vector<ReportEntry> take_reports();
  /// With config.record_order: the workers whose operations were performed since the last call, one
  /// element per operation, in order.
  [[nodiscard]] std::vector<std::uint32_t> take_order();

  [[nodiscard]] std::vector<net::MemberState> members() const;
  /// A number that grows with every change of the members.
  [[nodiscard]] std::uint64_t members_version() const noexcept { return members_version_; }
  [[nodiscard]] const SspClock& clock() const noexcept { return clock_; }
  /// Whether at least one worker has joined, and all have left or are lost.
  [[nodiscard]] bool finished() const noexcept { return joined_any_ && clock_.empty(); }
  [[nodiscard]] const std::optional<net::Failure>& failure() const noexcept { return failure_; }
  /// The largest length of a valid message, in bytes.
  [[nodiscard]] std::size_t message_limit() const noexcept { return message_limit_; }
  [[nodiscard]] std::uint64_t incarnation() const noexcept { return config_.incarnation; }

 private:
  struct WaitingPull {
    std::uint64_t arrival;
    std::uint64_t request;
    net::Pull pull;
  };

  struct Worker {
    net::Status status = net::Status::unknown;
    std::uint64_t clock = 0;    // number of finished clocks
    std::uint64_t applied = 0;  // sequence number of the last operation in the tables
    std::uint64_t session = 0;
    std::uint64_t former_session = 0;  // the process may not know the new session yet
    bool confirmed = false;            // the process has sent a message in the new session
    std::uint64_t first_sequence = 1;  // of this life; earlier operations will never be applied
    std::optional<ConnectionId> connection;
    double last_heard = 0;
    std::uint64_t rounds_in_clock = 0;  // contributions to all-reduces since its last clock
    std::uint64_t version = 0;          // of the members, at the last change of this worker
    std::string address;
    net::Bytes state;
    std::vector<WaitingPull> pulls;
    std::optional<std::uint64_t> collecting;  // its request for the result of the open round

    /// The number of the last operation that was applied, or that will never be applied.
    [[nodiscard]] std::uint64_t reached() const { return std::max(applied, first_sequence - 1); }
    /// Whether a hello with the session `hello` comes from the known process of this worker, not
    /// from a newer process.
    [[nodiscard]] bool owns(std::uint64_t hello) const {
      return hello != 0 && (hello == session || (hello == former_session && !confirmed));
    }
    [[nodiscard]] bool counts() const { return status == net::Status::live || status == net::Status::expected; }
  };

  struct Connection {
    net::Assembler assembler;
    std::optional<std::uint32_t> worker;
    std::uint64_t last_hello = 0;
  };

  struct Joiner {
    ConnectionId connection;
    std::uint64_t request;
    net::Hello hello;
  };

  /// Clock, rank and arrival of a push that waits for the end of its clock. Pushes are applied in
  /// the order of these keys.
  using HeldKey = std::tuple<std::uint64_t, std::uint32_t, std::uint64_t>;
  struct Held {
    std::size_t table;
    Update update;
  };

  // server.cpp: frames in and out
  Effects take_effects();
  template <typename Take>
  Effects take_in(double now, ConnectionId connection, Take&& take);
  void dispatch(ConnectionId id, Connection& connection, const net::Message& message);
  template <typename Body>
  void send(ConnectionId connection, const Body& body, std::uint64_t request, net::Wire wire = net::Wire::exact);
  template <typename Body>
  void send_to(const Worker& worker, const Body& body, std::uint64_t request, net::Wire wire = net::Wire::exact);
  template <typename Body>
  void broadcast(const Body& body);
  void close(ConnectionId connection);
  void fail(net::FailureKind kind, std::uint32_t worker, const std::string& message);

  // server_members.cpp: joins, leaves, losses
  void on_hello(ConnectionId id, Connection& connection, std::uint64_t request, const net::Hello& hello);
  void begin_life(std::uint32_t rank, ConnectionId id, std::uint64_t request, const net::Hello& hello);
  void welcome(std::uint32_t rank, ConnectionId id, std::uint64_t request, std::uint64_t applied);
  [[nodiscard]] bool join_must_wait() const;
  void admit_joiners();
  void lose(std::uint32_t rank, const std::string& why);
  void leave(std::uint32_t rank);
  void changed(Worker& worker) { worker.version = ++members_version_; }
  void announce_members();
  [[nodiscard]] net::Members members_since(std::uint64_t since) const;

  // server_updates.cpp: operations, pulls, clocks
  template <typename Body>
  void on_operation(std::uint32_t rank, Body body);
  void perform(std::uint32_t rank, net::Push& push);
  void perform(std::uint32_t rank, const net::ClockTick& tick);
  void perform(std::uint32_t rank, const net::AllReduce& contribution);
  void perform(std::uint32_t rank, const net::Signal& signal);
  void perform(std::uint32_t rank, const net::Report& report);
  void perform(std::uint32_t rank, const net::Leave& leave);
  void on_pull(std::uint32_t rank, std::uint64_t request, net::Pull pull);
  void on_collect(std::uint32_t rank, std::uint64_t request, const net::Collect& collect);
  void on_heartbeat(std::uint32_t rank, const net::Heartbeat& heartbeat);
  [[nodiscard]] bool ready(const Worker& worker, const net::Pull& pull) const;
  [[nodiscard]] std::optional<Table> with_held(std::uint32_t rank, std::size_t table) const;
  void answer(std::uint32_t rank, const WaitingPull& waiting);
  void answer_ready(std::uint32_t rank);
  void answer_all_ready();
  void settle();
  void apply_finished_clocks();
  void complete_all_reduce();
  [[nodiscard]] std::size_t workers_of(std::uint64_t clock) const;
  [[nodiscard]] net::Clocks clocks_of(const Worker& worker) const;
  void acknowledge(const Worker& worker);
  void coordinating_shard_only() const;

  void restore(const Checkpoint& checkpoint);

  ServerConfig config_;
  std::uint64_t layout_;
  std::size_t message_limit_;
  double now_;
  double join_at_;
  double deadline_;
  std::vector<Table> tables_;
  SspClock clock_;
  std::uint64_t applied_clock_ = 0;  // the tables contain the pushes of all clocks below it
  std::map<HeldKey, Held> held_;
  std::map<std::uint32_t, Worker> workers_;
  // By number of finished clocks: the workers that left with so many.
  std::map<std::uint64_t, std::size_t> left_at_;
  std::map<ConnectionId, Connection> connections_;
  std::map<std::uint32_t, Joiner> joiners_;
  AllReducer reducer_;
  SignalBoard signals_;
  std::vector<ReportEntry> reports_;
  std::vector<std::uint32_t> order_;
  std::uint64_t members_version_ = 0;
  std::uint64_t announced_version_ = 0;
  std::size_t expected_ = 0;
  bool joined_any_ = false;
  bool urgent_change_ = false;  // a worker was lost or has joined, and this is not announced
  std::uint64_t next_session_ = 1;
  std::uint64_t next_arrival_ = 0;
  std::optional<net::Failure> failure_;
  Effects effects_;
};

}  // namespace dsgd::server
