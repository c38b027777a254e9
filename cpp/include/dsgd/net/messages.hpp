// All messages; those of the handshake are in handshake.hpp. Each lists its fields once, in the order
// in which they are sent.
//
// An *operation* changes the server. Operations of a worker carry a Stamp. The server applies each
// exactly once, in the order of their sequence numbers: it acknowledges a repeated operation again
// without applying it, and does not apply an operation that arrives too early. A *request* (hello,
// pull, collect) can be repeated without a further effect, and is answered each time. The client
// sends operations and requests again until they are acknowledged or answered.
#pragma once

#include <cstdint>  // for uint16_t, uint32_t, uint64_t, uint8_t
#include <string>   // for string
#include <vector>   // for vector

#include "dsgd/net/handshake.hpp"
#include "dsgd/net/values.hpp"

namespace dsgd::net {

/// Numbers of finished clocks: of the worker that receives the message, and of the slowest and
/// fastest live worker.
struct Clocks {
  std::uint64_t own = 0;
  std::uint64_t slowest = 0;
  std::uint64_t fastest = 0;
  std::uint32_t live = 0;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(own, slowest, fastest, live);
  }
};

/// Identifies an operation: the incarnation of the server, the worker, its clock, and the sequence
/// number of the operation.
struct Stamp {
  std::uint64_t incarnation = 0;
  std::uint32_t worker = 0;
  std::uint64_t clock = 0;
  std::uint64_t sequence = 0;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(incarnation, worker, clock, sequence);
  }
};

/// The first message of a connection. With the session of an earlier connection it continues that
/// session. Without a session, or with `fresh`, it begins a new life of the worker, in which the
/// number of the first operation is `next_sequence`.
struct Hello {
  static constexpr MessageType kType = MessageType::hello;
  std::uint64_t incarnation = 0;
  std::uint64_t session = 0;
  bool fresh = false;
  std::uint32_t worker = 0;
  std::uint64_t next_sequence = 1;
  std::uint64_t layout = 0;  // of tables and shards (layout_of); both sides must agree
  std::string address;       // where other workers reach this one

  template <typename Archive>
  void fields(Archive& archive) {
    archive(incarnation, session, fresh, worker, next_sequence, layout, address);
  }
};

struct Welcome {
  static constexpr MessageType kType = MessageType::welcome;
  std::uint64_t incarnation = 0;
  std::uint64_t session = 0;
  // The last operation, of the session that the hello named, that the tables contain.
  std::uint64_t applied = 0;
  Clocks clocks;
  std::uint64_t round = 0;  // of the next all-reduce
  Bytes state;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(incarnation, session, applied, clocks, round, state);
  }
};

struct Push {
  static constexpr MessageType kType = MessageType::push;
  Stamp stamp;
  std::uint16_t table = 0;
  double weight = 1;
  Values values;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(stamp, table, weight, values);
  }
};

/// The worker has now finished `stamp.clock` clocks.
struct ClockTick {
  static constexpr MessageType kType = MessageType::clock;
  Stamp stamp;
  Bytes state;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(stamp, state);
  }
};

struct AllReduce {
  static constexpr MessageType kType = MessageType::all_reduce;
  Stamp stamp;
  std::uint64_t round = 0;
  bool mean = false;
  double weight = 1;
  Values values;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(stamp, round, mean, weight, values);
  }
};

struct Signal {
  static constexpr MessageType kType = MessageType::signal;
  Stamp stamp;
  std::string name;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(stamp, name);
  }
};

struct Report {
  static constexpr MessageType kType = MessageType::report;
  Stamp stamp;
  Bytes metrics;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(stamp, metrics);
  }
};

struct Leave {
  static constexpr MessageType kType = MessageType::leave;
  Stamp stamp;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(stamp);
  }
};

/// The tables contain every operation up to `applied`. It is also the answer to a heartbeat.
struct Acknowledge {
  static constexpr MessageType kType = MessageType::acknowledge;
  std::uint64_t incarnation = 0;
  std::uint64_t session = 0;
  std::uint64_t applied = 0;
  Clocks clocks;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(incarnation, session, applied, clocks);
  }
};

/// Requests rows of a table as of `clock`. They must contain the worker's own operations up to
/// `after`.
struct Pull {
  static constexpr MessageType kType = MessageType::pull;
  std::uint64_t incarnation = 0;
  std::uint64_t session = 0;
  std::uint64_t clock = 0;
  std::uint64_t after = 0;
  std::uint16_t table = 0;
  bool sparse = false;
  Keys keys;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(incarnation, session, clock, after, table, sparse, keys);
  }
};

struct PullAnswer {
  static constexpr MessageType kType = MessageType::pull_answer;
  Clocks clocks;
  Values values;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(clocks, values);
  }
};

/// A PullAnswer whose numbers are not copied from the pages of the table. The bytes sent are the
/// same.
struct PagedPullAnswer {
  static constexpr MessageType kType = MessageType::pull_answer;
  Clocks clocks;
  Rope values;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(clocks, values);
  }
};

/// Requests the result of an all-reduce.
struct Collect {
  static constexpr MessageType kType = MessageType::collect;
  std::uint64_t incarnation = 0;
  std::uint64_t session = 0;
  std::uint64_t round = 0;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(incarnation, session, round);
  }
};

struct CollectAnswer {
  static constexpr MessageType kType = MessageType::collect_answer;
  Values values;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(values);
  }
};

/// Tells that the worker is alive. The server sends it the signals and members that it has missed.
struct Heartbeat {
  static constexpr MessageType kType = MessageType::heartbeat;
  std::uint64_t incarnation = 0;
  std::uint64_t session = 0;
  std::uint64_t signals_seen = 0;
  std::uint64_t members_seen = 0;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(incarnation, session, signals_seen, members_seen);
  }
};

struct SignalState {
  std::string name;
  std::uint64_t count = 0;
  std::uint32_t worker = 0;
  std::uint64_t clock = 0;
  std::uint64_t version = 0;  // of the board, when this signal was last given

  template <typename Archive>
  void fields(Archive& archive) {
    archive(name, count, worker, clock, version);
  }
};

/// Every signal that changed after version `since`.
struct Signals {
  static constexpr MessageType kType = MessageType::signals;
  std::uint64_t since = 0;
  std::vector<SignalState> changed;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(since, changed);
  }
};

enum class Status : std::uint8_t {
  unknown,   // never heard of
  expected,  // counts in the slowest clock, but has not joined yet
  live,
  lost,
  left,
};
inline constexpr auto kLastStatus = static_cast<std::uint8_t>(Status::left);

struct MemberState {
  std::uint32_t worker = 0;
  Status status = Status::unknown;
  std::uint64_t clock = 0;
  std::string address;
  std::uint64_t version = 0;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(worker, status, clock, address, version);
  }
};

/// Every member that changed after version `since`.
struct Members {
  static constexpr MessageType kType = MessageType::members;
  std::uint64_t since = 0;
  std::vector<MemberState> changed;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(since, changed);
  }
};

/// Sent from worker to worker, not through a server.
struct Letter {
  static constexpr MessageType kType = MessageType::letter;
  std::uint32_t sender = 0;
  std::uint64_t incarnation = 0;  // together with the session, names the life of the sender
  std::uint64_t session = 0;
  std::uint64_t number = 0;  // counts the letters of one life of the sender
  std::string name;
  Values values;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(sender, incarnation, session, number, name, values);
  }
};

enum class FailureKind : std::uint8_t {
  protocol,     // ends one connection; the peer may connect again
  config,       // ends one worker, for good
  worker_lost,  // ends all workers
};
inline constexpr auto kLastFailureKind = static_cast<std::uint8_t>(FailureKind::worker_lost);

/// Tells the peer why the server ends the connection or the run.
struct Failure {
  static constexpr MessageType kType = MessageType::failure;
  FailureKind kind = FailureKind::protocol;
  std::uint32_t worker = 0;
  std::string message;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(kind, worker, message);
  }
};

/// The frames of a message. `wire` is the format of its numbers.
template <typename Body>
[[nodiscard]] std::vector<Frame> encode(const Body& body, std::uint64_t request, bool checksum,
                                        Wire wire = Wire::exact);

/// The body of a message of type Body. Its arrays share the memory of `bytes` if that has an owner.
/// Throws Error(protocol).
template <typename Body>
[[nodiscard]] Body decode(const Slice& bytes);
template <typename Body>
[[nodiscard]] Body decode(ByteSpan bytes) {
  return decode<Body>(Slice{nullptr, bytes});
}

}  // namespace dsgd::net
