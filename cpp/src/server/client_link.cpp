// The connections of a worker to the shards: messages that are sent, repeated and received.
#include <algorithm>  // for max, min
#include <limits>     // for numeric_limits
#include <utility>    // for move

#include "dsgd/server/client.hpp"

namespace dsgd::server {
namespace {

void merge(net::Clocks& into, const net::Clocks& other) {
  into.slowest = std::min(into.slowest, other.slowest);
  into.fastest = std::max(into.fastest, other.fastest);
  into.live = std::min(into.live, other.live);
}

template <typename Real>
net::Numbers join(const std::vector<std::optional<net::Numbers>>& parts) {
  std::vector<Real> all;
  for (const auto& part : parts) {
    if (!part) continue;
    const auto& numbers = std::get<net::Array<Real>>(*part);
    all.insert(all.end(), numbers.begin(), numbers.end());
  }
  return all;
}

}  // namespace

void Client::connected(double now, std::size_t shard) {
  now_ = std::max(now_, now);
  if (failed_ || left_) return;
  Link& link = links_.at(shard);
  link.state = LinkState::greeting;
  link.assembler = net::Assembler(message_limit_);
  send_hello(shard);
}

void Client::disconnected(double now, std::size_t shard, const std::string& why) {
  now_ = std::max(now_, now);
  links_.at(shard).state = LinkState::closed;
  if (!why.empty()) last_fault_ = why;
}

void Client::give_up(const std::string& kind, const std::string& message) {
  if (!done()) fail(kind, config_.worker, message);
}

void Client::receive(double now, std::size_t shard, net::ByteSpan frame) {
  take_in(now, shard, [&](Link& link) { return link.assembler.add(frame); });
}

void Client::receive(double now, std::size_t shard, const net::Message& message) {
  take_in(now, shard, [&](Link& /*link*/) { return std::optional(message); });
}

void Client::heard(double now, std::size_t shard) {
  take_in(now, shard, [](Link& /*link*/) { return std::optional<net::Message>(); });
}

template <typename Take>
void Client::take_in(double now, std::size_t shard, Take&& take) {
  now_ = std::max(now_, now);
  Link& link = links_.at(shard);
  if (link.state == LinkState::closed || failed_ || left_) return;
  try {
    const std::optional<net::Message> message = take(link);
    link.last_heard = now_;
    if (message) dispatch(shard, *message);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::protocol) throw;
    last_fault_ = error.what();
    close(shard);
  }
}

void Client::tick(double now) {
  now_ = std::max(now_, now);
  for (std::size_t shard = 0; shard < links_.size() && !failed_ && !left_; ++shard) {
    Link& link = links_[shard];
    if (now_ >= link.last_heard + config_.deadline) {
      fail("deadline", config_.worker,
           "server shard " + std::to_string(shard) + " was silent for " + std::to_string(now_ - link.last_heard) +
               " s" + (last_fault_.empty() ? "" : "; the last fault was: " + last_fault_));
      return;
    }
    const auto again = [&](Pending& pending, double longest) {
      if (now_ < pending.due) return;
      pending.wait = std::min({2 * pending.wait, kMaxBackoff * config_.resend_after, longest});
      send(shard, pending);
    };
    // A server that lets a worker wait until it may join answers each hello, and is silent otherwise.
    if (link.hello && link.state == LinkState::greeting) again(*link.hello, config_.deadline / 4);
    if (link.state != LinkState::ready) continue;
    constexpr double kAny = std::numeric_limits<double>::infinity();
    for (Pending& pending : link.operations) again(pending, kAny);
    for (Pending& pending : link.requests) again(pending, kAny);
    if (now_ >= link.last_sent + config_.heartbeat_interval) {
      const net::Heartbeat heartbeat{link.incarnation, link.session, signals_seen_, members_seen_};
      Pending pending{0, net::encode(heartbeat, next_request_++, config_.payload_checksum), 0, 0};
      send(shard, pending);
    }
  }
}

void Client::excuse(double now, double seconds) {
  for (Link& link : links_) link.last_heard = std::min(link.last_heard + seconds, now);
}

double Client::next_deadline() const {
  double next = std::numeric_limits<double>::infinity();
  if (failed_ || left_) return next;
  for (const Link& link : links_) {
    next = std::min(next, link.last_heard + config_.deadline);
    if (link.state == LinkState::greeting && link.hello) next = std::min(next, link.hello->due);
    if (link.state != LinkState::ready) continue;
    next = std::min(next, link.last_sent + config_.heartbeat_interval);
    for (const Pending& pending : link.operations) next = std::min(next, pending.due);
    for (const Pending& pending : link.requests) next = std::min(next, pending.due);
  }
  return next;
}

void Client::send(std::size_t shard, Pending& pending) {
  Link& link = links_[shard];
  pending.due = now_ + pending.wait;
  if (link.state == LinkState::closed) return;
  const bool greeting = link.hello && &*link.hello == &pending;
  if (link.state == LinkState::greeting && !greeting) return;  // it is sent after the welcome
  for (const auto& frame : pending.frames) outgoing_.push_back({shard, frame});
  link.last_sent = now_;
}

void Client::send_hello(std::size_t shard) {
  Link& link = links_[shard];
  link.hello_request = next_request_++;
  link.hello_sequence = link.next_sequence;
  const net::Hello hello{link.incarnation,   link.session, link.fresh,     config_.worker,
                         link.next_sequence, layout_,      config_.address};
  link.hello = Pending{0, net::encode(hello, link.hello_request, config_.payload_checksum), 0, config_.resend_after};
  send(shard, *link.hello);
}

void Client::send_all_again(std::size_t shard) {
  Link& link = links_[shard];
  for (auto* queue : {&link.operations, &link.requests}) {
    for (Pending& pending : *queue) {
      pending.wait = config_.resend_after;
      send(shard, pending);
    }
  }
}

void Client::close(std::size_t shard) {
  links_[shard].state = LinkState::closed;
  outgoing_.push_back({shard, nullptr});
}

void Client::dispatch(std::size_t shard, const net::Message& message) {
  using net::MessageType;
  switch (message.type) {
    case MessageType::welcome:
      return on_welcome(shard, message.request, net::decode<net::Welcome>(message.body));
    case MessageType::acknowledge:
      return on_acknowledge(shard, net::decode<net::Acknowledge>(message.body));
    case MessageType::pull_answer:
      return on_pull_answer(shard, message.request, net::decode<net::PullAnswer>(message.body));
    case MessageType::collect_answer:
      return on_collect_answer(shard, message.request, net::decode<net::CollectAnswer>(message.body));
    case MessageType::signals:
      return on_signals(net::decode<net::Signals>(message.body));
    case MessageType::members:
      return on_members(net::decode<net::Members>(message.body));
    case MessageType::failure:
      return on_failure(shard, net::decode<net::Failure>(message.body));
    default:
      net::malformed("message of type " + std::to_string(static_cast<int>(message.type)) + " is not for a worker");
  }
}

void Client::on_welcome(std::size_t shard, std::uint64_t request, net::Welcome welcome) {
  Link& link = links_[shard];
  if (link.state != LinkState::greeting || request != link.hello_request) return;
  link.state = LinkState::ready;
  link.hello.reset();
  const bool same_life =
      link.session != 0 && link.session == welcome.session && link.incarnation == welcome.incarnation;
  if (same_life) {
    on_acknowledge(shard, {welcome.incarnation, welcome.session, welcome.applied, welcome.clocks});
    return send_all_again(shard);
  }
  if (running_) begin_again(shard);
  link.incarnation = welcome.incarnation;
  link.session = welcome.session;
  // Operations since the hello were never sent: the server expects the sequence number that the
  // hello named.
  link.next_sequence = link.hello_sequence;
  link.acknowledged = std::max(link.acknowledged, welcome.applied);
  link.start_clock = welcome.clocks.own;
  link.clocks = welcome.clocks;
  link.start_state = std::move(welcome.state);
  link.welcomed = true;
  link.fresh = false;
  if (shard == 0) round_ = welcome.round;
  finish_joining();
}

/// Shard `shard` has begun a new life of this worker. The other shards must do the same, and all
/// unanswered commands are void.
void Client::begin_again(std::size_t shard) {
  running_ = false;
  pulls_.clear();
  waiting_.clear();
  reducing_.reset();
  signals_seen_ = 0;
  signals_.clear();
  members_seen_ = 0;
  for (std::size_t other = 0; other < links_.size(); ++other) {
    Link& link = links_[other];
    link.operations.clear();
    link.requests.clear();
    if (other == shard) continue;
    link.welcomed = false;
    link.fresh = true;
    if (link.state == LinkState::closed) continue;
    link.state = LinkState::greeting;
    send_hello(other);
  }
}

void Client::finish_joining() {
  std::uint64_t start = 0;
  for (const Link& link : links_) {
    if (!link.welcomed) return;
    start = std::max(start, link.start_clock);
  }
  own_clock_ = start;
  running_ = true;
  Answer answer(joined_ ? AnswerKind::rewound : AnswerKind::joined);
  joined_ = true;
  answer.clocks = links_[0].clocks;
  answer.clocks.own = start;
  for (const Link& link : links_) merge(answer.clocks, link.clocks);
  answer.state = links_[0].start_state;
  for (std::size_t shard = 0; shard < links_.size(); ++shard) {
    Link& link = links_[shard];
    if (link.start_clock == start) continue;
    const net::ClockTick tick{{link.incarnation, config_.worker, start, link.next_sequence},
                              shard == 0 ? link.start_state : net::Bytes()};
    auto frames = net::encode(tick, next_request_++, config_.payload_checksum);
    const std::uint64_t sequence = link.next_sequence++;
    send(shard, link.operations.emplace_back(Pending{sequence, std::move(frames), 0, config_.resend_after}));
  }
  answers_.push_back(std::move(answer));
  // Signals that arrived before the last welcome.
  for (const auto& [_, signal] : signals_) tell(signal);
}

void Client::on_acknowledge(std::size_t shard, const net::Acknowledge& acknowledge) {
  Link& link = links_[shard];
  if (acknowledge.incarnation != link.incarnation || acknowledge.session != link.session) return;
  link.acknowledged = std::max(link.acknowledged, acknowledge.applied);
  while (!link.operations.empty() && link.operations.front().number <= acknowledge.applied) link.operations.pop_front();
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    WaitingOperation& waiting = at->second;
    std::uint64_t& sequence = waiting.sequences[shard];
    if (sequence == 0 || sequence > acknowledge.applied) {
      ++at;
      continue;
    }
    sequence = 0;
    merge(waiting.clocks, acknowledge.clocks);
    if (--waiting.missing > 0) {
      ++at;
      continue;
    }
    Answer answer(waiting.kind, at->first);
    answer.clocks = waiting.clocks;
    left_ = left_ || waiting.kind == AnswerKind::left;
    at = waiting_.erase(at);
    answers_.push_back(std::move(answer));
  }
}

void Client::on_pull_answer(std::size_t shard, std::uint64_t request, net::PullAnswer part) {
  const auto at = pulls_.find(request);
  if (at == pulls_.end() || at->second.parts[shard]) return;
  WaitingPull& waiting = at->second;
  if (part.values.sparse || part.values.dtype() != waiting.dtype || part.values.size() != waiting.sizes[shard]) {
    net::malformed("a pull was answered with other values than it asked for");
  }
  std::erase_if(links_[shard].requests, [&](const Pending& pending) { return pending.number == request; });
  waiting.parts[shard] = std::move(part.values.data);
  merge(waiting.clocks, part.clocks);
  if (--waiting.missing > 0) return;
  Answer answer(AnswerKind::pull, request);
  answer.clocks = waiting.clocks;
  net::Numbers numbers;
  if (auto& first = waiting.parts.front(); waiting.parts.size() == 1 && first) {
    numbers = std::move(*first);
  } else {
    numbers = waiting.dtype == net::DType::float32 ? net::Numbers(join<float>(waiting.parts))
                                                   : net::Numbers(join<double>(waiting.parts));
  }
  answer.values = net::Values{false, {}, std::move(numbers)};
  pulls_.erase(at);
  answers_.push_back(std::move(answer));
}

void Client::on_collect_answer(std::size_t shard, std::uint64_t request, net::CollectAnswer result) {
  if (shard != 0 || reducing_ != request) return;
  std::erase_if(links_[0].requests, [&](const Pending& pending) { return pending.number == request; });
  reducing_.reset();
  Answer answer(AnswerKind::all_reduce, request);
  answer.values = std::move(result.values);
  answers_.push_back(std::move(answer));
}

void Client::on_signals(const net::Signals& signals) {
  // An earlier message was lost. The next heartbeat asks for both.
  if (signals.since > signals_seen_) return;
  for (const auto& signal : signals.changed) {
    signals_seen_ = std::max(signals_seen_, signal.version);
    net::SignalState& known = signals_[signal.name];
    if (signal.count <= known.count) continue;
    known = signal;
    if (running_) tell(signal);
  }
}

void Client::tell(const net::SignalState& signal) {
  Answer answer(AnswerKind::signal);
  answer.name = signal.name;
  answer.count = signal.count;
  answer.worker = signal.worker;
  answer.clocks.own = signal.clock;
  answers_.push_back(std::move(answer));
}

void Client::on_members(const net::Members& members) {
  if (members.since > members_seen_) return;
  for (const auto& member : members.changed) {
    members_seen_ = std::max(members_seen_, member.version);
    members_[member.worker] = member;
  }
  Answer answer(AnswerKind::members);
  for (const auto& [_, member] : members_) answer.members.push_back(member);
  answers_.push_back(std::move(answer));
}

void Client::on_failure(std::size_t shard, const net::Failure& failure) {
  switch (failure.kind) {
    case net::FailureKind::protocol:
      last_fault_ = failure.message;
      return close(shard);
    case net::FailureKind::config:
      return fail("config", failure.worker, failure.message);
    case net::FailureKind::worker_lost:
      return fail("worker_lost", failure.worker, failure.message);
  }
}

void Client::fail(const std::string& kind, std::uint32_t worker, const std::string& message) {
  failed_ = message;
  Answer answer(AnswerKind::failed);
  answer.name = kind;
  answer.worker = worker;
  answer.message = message;
  answers_.push_back(std::move(answer));
}

}  // namespace dsgd::server
