// Every message: its fields, listed once, in the order in which they are on the wire.
//
// An *operation* changes the server. Operations of a worker carry a Stamp and are applied in the order of their
// sequence numbers, each exactly once: one that was applied is acknowledged again, one that comes too early is not
// applied. A *request* (hello, pull, collect) changes nothing that a second one would change again, and is answered
// each time. What has no acknowledgement or answer is sent again by the client.
#pragma once

#include <array>    // for array
#include <cstddef>  // for byte
#include <cstdint>  // for uint16_t, uint32_t, uint64_t, uint8_t
#include <string>   // for string
#include <vector>   // for vector

#include "dsgd/net/values.hpp"

namespace dsgd::net {

/// Finished clocks: of the worker that is told, and of the live workers.
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

/// Whose operation, of which life of the server, in which clock, the how-manieth.
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

/// The first message of a connection. With the session of a former connection it goes on with that one. Without, or
/// `fresh`, it begins a new life of the worker, whose operations are numbered from `next_sequence`.
struct Hello {
  static constexpr MessageType kType = MessageType::hello;
  std::uint64_t incarnation = 0;
  std::uint64_t session = 0;
  bool fresh = false;
  std::uint32_t worker = 0;
  std::uint64_t next_sequence = 1;
  std::uint64_t layout = 0;  // of the tables and shards: both sides must mean the same
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
  std::uint64_t applied = 0;  // the last operation of the session that the hello named which the tables contain
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

/// Every operation up to `applied` is in the tables. Also the answer to a heartbeat.
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

/// Wants rows of a table as of `clock`, with the worker's own operations up to `after` in them.
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

/// A PullAnswer with the numbers where the table has them.
struct PagedPullAnswer {
  static constexpr MessageType kType = MessageType::pull_answer;
  Clocks clocks;
  Rope values;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(clocks, values);
  }
};

/// Wants the result of an all-reduce.
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

/// A sign of life; what the worker has missed of signals and members is sent to it again.
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
  std::uint64_t version = 0;  // of the board, when this was signalled last

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
  expected,  // counts in the minimum, has not joined yet
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

/// From worker to worker, by no server.
struct Letter {
  static constexpr MessageType kType = MessageType::letter;
  std::uint32_t sender = 0;
  std::uint64_t incarnation = 0;  // with the session, the life of the sender, in which letters are numbered
  std::uint64_t session = 0;
  std::uint64_t number = 0;
  std::string name;
  Values values;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(sender, incarnation, session, number, name, values);
  }
};

enum class FailureKind : std::uint8_t {
  protocol,     // of one connection: the peer may connect again
  config,       // of one worker, for good
  worker_lost,  // of all
};
inline constexpr auto kLastFailureKind = static_cast<std::uint8_t>(FailureKind::worker_lost);

/// Why the server will not go on with this peer.
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

/// 32 bytes: a nonce, or an HMAC-SHA-256.
using Digest = std::array<std::byte, 32>;

/// What a peer wants.
enum class Purpose : std::uint8_t {
  work,     // a worker, of a shard
  letters,  // a worker, of another: to bring it letters
};
inline constexpr auto kLastPurpose = static_cast<std::uint8_t>(Purpose::letters);

/// Who comes, to whom (a shard or a worker), and what for.
struct Introduction {
  Purpose purpose = Purpose::work;
  std::uint32_t worker = 0;
  std::uint32_t target = 0;

  template <typename Archive>
  void fields(Archive& archive) {
    archive(purpose, worker, target);
  }
};

/// The handshake, before anything else: see auth.hpp.
struct Greeting {
  static constexpr MessageType kType = MessageType::greeting;
  Introduction who;
  Digest nonce{};

  template <typename Archive>
  void fields(Archive& archive) {
    archive(who, nonce);
  }
};

struct Challenge {
  static constexpr MessageType kType = MessageType::challenge;
  Digest nonce{};
  Digest proof{};

  template <typename Archive>
  void fields(Archive& archive) {
    archive(nonce, proof);
  }
};

struct Proof {
  static constexpr MessageType kType = MessageType::proof;
  Digest proof{};

  template <typename Archive>
  void fields(Archive& archive) {
    archive(proof);
  }
};

/// The frames of a message; `wire` says how its numbers are sent.
template <typename Body>
[[nodiscard]] std::vector<Frame> encode(const Body& body, std::uint64_t request, bool checksum,
                                        Wire wire = Wire::exact);

/// The body of a message of type Body. Its arrays share the memory of `bytes` if that has an owner. Throws
/// Error(protocol).
template <typename Body>
[[nodiscard]] Body decode(const Slice& bytes);
template <typename Body>
[[nodiscard]] Body decode(ByteSpan bytes) {
  return decode<Body>(Slice{nullptr, bytes});
}

}  // namespace dsgd::net
