// One worker's side of the parameter server, as a state machine. It turns commands into frames for
// the shards, and frames from the shards into answers. It sends frames again that are not
// acknowledged or answered. It has no socket, clock or thread; see docs/server.md.
#pragma once

#include <cstdint>   // for uint32_t, uint64_t
#include <deque>     // for deque
#include <map>       // for map
#include <optional>  // for optional
#include <set>       // for set
#include <string>    // for string
#include <utility>   // for pair
#include <vector>    // for vector

#include "dsgd/net/messages.hpp"
#include "dsgd/server/table_spec.hpp"

namespace dsgd::server {

struct ClientConfig {
  std::uint32_t worker = 0;
  std::vector<TableSpec> tables;
  std::size_t n_shards = 1;
  std::string address;              // at which other workers reach this worker
  double heartbeat_interval = 5.0;  // seconds of silence after which the client sends a heartbeat
  double resend_after = 1.0;        // seconds; every repetition doubles it, up to kMaxBackoff times
  double deadline = 60.0;           // seconds of silence of a shard after which the client fails
  bool payload_checksum = false;
  net::Wire wire = net::Wire::exact;  // format of pushed numbers
};

/// The kind of an answer: the result of a command, or news from the server. docs/server.md lists
/// the fields of each kind.
enum class AnswerKind : std::uint8_t {
  joined,
  rewound,
  pull,
  clock,
  all_reduce,
  left,
  signal,
  members,
  letter,
  failed,
};

struct Answer {
  explicit Answer(AnswerKind of, std::uint64_t to = 0) : kind(of), request(to) {}

  AnswerKind kind;
  std::uint64_t request;
  std::optional<net::Values> values;
  net::Clocks clocks;
  std::uint32_t worker = 0;
  std::uint64_t count = 0;
  std::string name;
  std::string message;
  net::Bytes state;
  std::vector<net::MemberState> members;
};

/// A frame for a shard. Without a frame: the connection to the shard is to be closed.
struct Outgoing {
  std::size_t shard;
  net::Frame frame;
};

class Client {
 public:
  static constexpr double kMaxBackoff = 32;

  Client(double now, ClientConfig config);

  void connected(double now, std::size_t shard);
  /// `why` becomes part of the error message if the shard does not come back.
  void disconnected(double now, std::size_t shard, const std::string& why = "");
  /// To be called by a driver that cannot continue. The client fails, with an answer `failed` whose
  /// name is `kind`.
  void give_up(const std::string& kind, const std::string& message);
  void receive(double now, std::size_t shard, net::ByteSpan frame);
  /// The same for a driver that joins pieces itself. `receive` takes a whole message; `heard` tells
  /// that a piece of a message has arrived.
  void receive(double now, std::size_t shard, const net::Message& message);
  void heard(double now, std::size_t shard);
  void tick(double now);
  /// Tells that the driver did not run for `seconds`. The silence of servers during this time does
  /// not count.
  void excuse(double now, double seconds);
  /// The latest time of the next call of `tick`.
  [[nodiscard]] double next_deadline() const;
  [[nodiscard]] std::vector<Outgoing> take_outgoing();
  [[nodiscard]] std::vector<Answer> take_answers();

  // Commands. A command that is answered returns the request number of its answer. Commands throw
  // Error(config) before `joined` and after `failed`.
  std::uint64_t pull(double now, std::uint64_t clock, const std::string& table, const std::optional<net::Keys>& keys);
  void push(double now, const std::string& table, net::Values values, double weight);
  std::uint64_t clock(double now, net::Bytes state);
  std::uint64_t all_reduce(double now, net::Values values, bool mean, double weight);
  void signal(double now, const std::string& name);
  void report(double now, net::Bytes metrics);
  std::uint64_t leave(double now);

  /// Letters between workers, which the driver transports: `letter` gives the frames of a letter,
  /// `receive_letter` takes in a letter that has arrived.
  [[nodiscard]] std::vector<net::Frame> letter(net::Values values, const std::string& name);
  [[nodiscard]] std::optional<Answer> receive_letter(std::uint32_t peer, net::ByteSpan frame);
  [[nodiscard]] std::optional<Answer> receive_letter(std::uint32_t peer, const net::Message& message);
  /// The largest length of a valid message, in bytes.
  [[nodiscard]] std::size_t message_limit() const noexcept { return message_limit_; }

  [[nodiscard]] std::uint32_t worker() const noexcept { return config_.worker; }
  [[nodiscard]] std::uint64_t own_clock() const noexcept { return own_clock_; }
  /// Whether the worker has joined and is not joining again after a rewind.
  [[nodiscard]] bool ready() const noexcept { return running_; }
  [[nodiscard]] std::size_t unacknowledged() const;
  [[nodiscard]] std::size_t unacknowledged_bytes() const;
  /// Whether the worker has left or failed. It then needs no connection any more.
  [[nodiscard]] bool done() const noexcept { return left_ || failed_; }
  /// The number of the last operation that a shard has acknowledged, and of the last that was sent
  /// to it.
  [[nodiscard]] std::uint64_t acknowledged(std::size_t shard) const { return links_.at(shard).acknowledged; }
  [[nodiscard]] std::uint64_t sent(std::size_t shard) const { return links_.at(shard).next_sequence - 1; }

 private:
  /// A message that was sent, and is kept to be sent again.
  struct Pending {
    std::uint64_t number;  // sequence of an operation, or id of a request
    std::vector<net::Frame> frames;
    double due;
    double wait;
  };

  enum class LinkState : std::uint8_t { closed, greeting, ready };

  /// The state of the connection to one shard.
  struct Link {
    explicit Link(std::size_t message_limit) : assembler(message_limit) {}

    LinkState state = LinkState::closed;
    net::Assembler assembler;
    std::uint64_t hello_request = 0;
    std::uint64_t hello_sequence = 1;  // next_sequence in the last hello
    std::uint64_t incarnation = 0;
    std::uint64_t session = 0;
    bool welcomed = false;  // by this shard, in the present life of the worker
    bool fresh = false;     // the next hello begins a new life, as another shard has done
    std::uint64_t next_sequence = 1;
    std::uint64_t acknowledged = 0;
    std::uint64_t start_clock = 0;
    net::Bytes start_state;
    net::Clocks clocks;
    double last_heard = 0;
    double last_sent = 0;
    std::optional<Pending> hello;
    std::deque<Pending> operations;
    std::deque<Pending> requests;
  };

  struct WaitingPull {
    net::DType dtype;
    std::vector<std::size_t> sizes;                  // by shard: the length of its part
    std::vector<std::optional<net::Numbers>> parts;  // by shard
    std::size_t missing;                             // shards that have not answered
    net::Clocks clocks;
  };

  /// A clock or a leave, which is complete when every shard has acknowledged it.
  struct WaitingOperation {
    AnswerKind kind;
    std::vector<std::uint64_t> sequences;  // by shard; 0: acknowledged
    std::size_t missing;
    net::Clocks clocks;
  };

  // client.cpp: commands
  [[nodiscard]] bool begin_command(double now);
  [[nodiscard]] std::size_t table_number(const std::string& name) const;
  [[nodiscard]] RowRange range(std::size_t table, std::size_t shard) const;
  template <typename Body>
  std::uint64_t operate(std::size_t shard, const Body& body, net::Wire wire = net::Wire::exact);
  template <typename Body>
  void request(std::size_t shard, std::uint64_t id, const Body& body);
  [[nodiscard]] net::Stamp stamp(std::size_t shard) const;
  template <typename MakeBody>
  std::uint64_t operate_on_all(AnswerKind kind, MakeBody&& make_body);

  // client_link.cpp: connections, sending again
  void send(std::size_t shard, Pending& pending);
  void send_hello(std::size_t shard);
  void send_all_again(std::size_t shard);
  void close(std::size_t shard);
  template <typename Take>
  void take_in(double now, std::size_t shard, Take&& take);
  void dispatch(std::size_t shard, const net::Message& message);
  void on_welcome(std::size_t shard, std::uint64_t request, net::Welcome welcome);
  void begin_again(std::size_t shard);
  void finish_joining();
  void on_acknowledge(std::size_t shard, const net::Acknowledge& acknowledge);
  void on_pull_answer(std::size_t shard, std::uint64_t request, net::PullAnswer answer);
  void on_collect_answer(std::size_t shard, std::uint64_t request, net::CollectAnswer answer);
  void on_signals(const net::Signals& signals);
  void tell(const net::SignalState& signal);
  void on_members(const net::Members& members);
  void on_failure(std::size_t shard, const net::Failure& failure);
  void fail(const std::string& kind, std::uint32_t worker, const std::string& message);

  ClientConfig config_;
  std::uint64_t layout_;
  std::size_t message_limit_;
  double now_;
  std::vector<Link> links_;
  std::uint64_t next_request_ = 1;
  std::uint64_t own_clock_ = 0;
  std::uint64_t round_ = 0;
  bool joined_ = false;
  bool running_ = false;
  bool left_ = false;
  std::optional<std::string> failed_;
  std::string last_fault_;
  std::map<std::uint64_t, WaitingPull> pulls_;
  std::map<std::uint64_t, WaitingOperation> waiting_;
  std::optional<std::uint64_t> reducing_;
  std::uint64_t signals_seen_ = 0;
  std::map<std::string, net::SignalState> signals_;
  std::uint64_t members_seen_ = 0;
  std::map<std::uint32_t, net::MemberState> members_;
  std::uint64_t next_letter_ = 1;
  struct Mailbox {
    net::Assembler assembler;
    std::pair<std::uint64_t, std::uint64_t> life;
    std::set<std::uint64_t> numbers;  // of the last letters, to recognise a repetition
  };
  std::map<std::uint32_t, Mailbox> mailboxes_;
  std::vector<Outgoing> outgoing_;
  std::vector<Answer> answers_;
};

}  // namespace dsgd::server
