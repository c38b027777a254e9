// The commands of a worker.
#include "dsgd/server/client.hpp"

#include <algorithm>  // for adjacent_find, lower_bound, max
#include <cmath>      // for isfinite
#include <limits>     // for numeric_limits
#include <utility>    // for move

namespace dsgd::server {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::config, what); }

void check(const ClientConfig& config) {
  check_tables(config.tables);
  if (config.n_shards == 0 || config.n_shards > std::numeric_limits<std::uint16_t>::max()) {
    refuse("n_shards must be in [1, 65535], not " + std::to_string(config.n_shards));
  }
  if (config.address.size() > 256)
    refuse("an address of " + std::to_string(config.address.size()) + " bytes; at most 256");
  const std::pair<const char*, double> times[] = {{"heartbeat_interval", config.heartbeat_interval},
                                                  {"resend_after", config.resend_after},
                                                  {"deadline", config.deadline}};
  for (const auto& [name, seconds] : times) {
    if (!(seconds > 0)) refuse(std::string(name) + " must be positive, not " + std::to_string(seconds));
  }
}

void check_keys(const TableSpec& table, const net::Keys& keys) {
  const auto not_less = [](std::uint64_t a, std::uint64_t b) { return a >= b; };
  if (std::ranges::adjacent_find(keys, not_less) != keys.end()) {
    refuse("keys of table '" + table.name + "' must increase: sort them, and add up the values of equal ones");
  }
  if (!keys.empty() && keys.back() >= table.size) {
    refuse("table '" + table.name + "' has " + std::to_string(table.size) + " rows, but key " +
           std::to_string(keys.back()) + " was given");
  }
}

/// The keys in a range, counted from its beginning, and the position of the first of them among all
/// keys.
struct KeyPart {
  net::Keys keys;
  std::size_t first;
};

KeyPart part_of(const net::Keys& keys, RowRange range) {
  const auto begin = std::ranges::lower_bound(keys, range.begin);
  const auto end = std::lower_bound(begin, keys.end(), range.end);
  KeyPart part{net::Keys(begin, end), static_cast<std::size_t>(begin - keys.begin())};
  for (auto& key : part.keys) key -= range.begin;
  return part;
}

net::Values slice(const net::Values& values, RowRange range, std::size_t width) {
  net::Values part;
  part.sparse = values.sparse;
  auto first = static_cast<std::size_t>(range.begin);
  auto rows = static_cast<std::size_t>(range.end - range.begin);
  if (values.sparse) {
    auto keys = part_of(values.keys, range);
    first = keys.first;
    rows = keys.keys.size();
    part.keys = std::move(keys.keys);
  }
  std::visit([&](const auto& data) { part.data = data.part(first * width, rows * width); }, values.data);
  return part;
}

}  // namespace

Client::Client(double now, ClientConfig config)
    : config_((check(config), std::move(config))),
      layout_(layout_of(config_.tables, config_.n_shards)),
      message_limit_(longest_message(config_.tables)),
      now_(now) {
  for (std::size_t shard = 0; shard < config_.n_shards; ++shard) {
    Link& link = links_.emplace_back(message_limit_);
    link.last_heard = now;
    link.last_sent = now;
  }
}

/// Whether a command may be sent. After a rewind, until the worker has joined again, commands have
/// no effect: the program does not know about the rewind yet.
bool Client::begin_command(double now) {
  now_ = std::max(now_, now);
  if (failed_) refuse("worker " + std::to_string(config_.worker) + " has failed: " + *failed_);
  if (!joined_) refuse("worker " + std::to_string(config_.worker) + " has not joined yet: wait for `joined`");
  if (left_) refuse("worker " + std::to_string(config_.worker) + " has left");
  return running_;
}

std::size_t Client::table_number(const std::string& name) const {
  std::string names;
  for (std::size_t k = 0; k < config_.tables.size(); ++k) {
    if (config_.tables[k].name == name) return k;
    names += (k > 0 ? ", '" : "'") + config_.tables[k].name + "'";
  }
  refuse("there is no table '" + name + "'; there are " + names);
}

RowRange Client::range(std::size_t table, std::size_t shard) const {
  return rows_of_shard(config_.tables[table].size, shard, config_.n_shards);
}

net::Stamp Client::stamp(std::size_t shard) const {
  const Link& link = links_[shard];
  return {link.incarnation, config_.worker, own_clock_, link.next_sequence};
}

/// Sends an operation and keeps it until it is acknowledged. Returns its sequence number.
template <typename Body>
std::uint64_t Client::operate(std::size_t shard, const Body& body, net::Wire wire) {
  Link& link = links_[shard];
  const std::uint64_t sequence = link.next_sequence++;
  auto frames = net::encode(body, next_request_++, config_.payload_checksum, wire);
  send(shard, link.operations.emplace_back(Pending{sequence, std::move(frames), 0, config_.resend_after}));
  return sequence;
}

template <typename Body>
void Client::request(std::size_t shard, std::uint64_t id, const Body& body) {
  auto frames = net::encode(body, id, config_.payload_checksum);
  send(shard, links_[shard].requests.emplace_back(Pending{id, std::move(frames), 0, config_.resend_after}));
}

/// Sends an operation to every shard. It is answered when all shards have acknowledged it.
template <typename MakeBody>
std::uint64_t Client::operate_on_all(AnswerKind kind, MakeBody&& make_body) {
  const std::uint64_t id = next_request_++;
  WaitingOperation waiting{kind, {}, config_.n_shards, {}};
  waiting.clocks = {own_clock_, std::numeric_limits<std::uint64_t>::max(), 0,
                    std::numeric_limits<std::uint32_t>::max()};
  for (std::size_t shard = 0; shard < config_.n_shards; ++shard) {
    waiting.sequences.push_back(operate(shard, make_body(shard)));
  }
  waiting_.emplace(id, std::move(waiting));
  return id;
}

std::uint64_t Client::pull(double now, std::uint64_t clock, const std::string& table,
                           const std::optional<net::Keys>& keys) {
  const std::size_t number = table_number(table);
  const TableSpec& spec = config_.tables[number];
  if (keys) check_keys(spec, *keys);
  const bool goes_out = begin_command(now);
  const std::uint64_t id = next_request_++;
  if (!goes_out) return id;
  WaitingPull waiting{spec.dtype, {}, {}, config_.n_shards, {}};
  waiting.clocks = {own_clock_, std::numeric_limits<std::uint64_t>::max(), 0,
                    std::numeric_limits<std::uint32_t>::max()};
  waiting.parts.resize(config_.n_shards);
  for (std::size_t shard = 0; shard < config_.n_shards; ++shard) {
    const RowRange rows = range(number, shard);
    net::Pull message{links_[shard].incarnation,          links_[shard].session, clock, links_[shard].next_sequence - 1,
                      static_cast<std::uint16_t>(number), keys.has_value(),      {}};
    if (keys) message.keys = part_of(*keys, rows).keys;
    waiting.sizes.push_back((keys ? message.keys.size() : rows.end - rows.begin) * spec.width);
    request(shard, id, message);
  }
  pulls_.emplace(id, std::move(waiting));
  return id;
}

void Client::push(double now, const std::string& table, net::Values values, double weight) {
  const std::size_t number = table_number(table);
  const TableSpec& spec = config_.tables[number];
  if (values.dtype() != spec.dtype) refuse("a push to table '" + table + "' must have the dtype of the table");
  if (values.sparse) check_keys(spec, values.keys);
  const std::uint64_t size = (values.sparse ? values.keys.size() : spec.size) * spec.width;
  if (values.size() != size) {
    refuse("a push to table '" + table + "' has " + std::to_string(values.size()) + " values; expected " +
           std::to_string(size));
  }
  const bool mean = spec.rule == Rule::replace_mean || spec.rule == Rule::average;
  if (!std::isfinite(weight) || (mean && weight <= 0)) {
    refuse("the weight of a push to table '" + table + "' must be finite" + (mean ? " and positive" : "") + ", not " +
           std::to_string(weight));
  }
  if (!begin_command(now)) return;
  const auto push_part = [&](std::size_t shard, net::Values part) {
    // A push without rows on this shard changes nothing, except with replace_mean, where it
    // replaces the last push of the worker.
    if (part.size() == 0 && spec.rule != Rule::replace_mean) return;
    operate(shard, net::Push{stamp(shard), static_cast<std::uint16_t>(number), weight, std::move(part)}, config_.wire);
  };
  if (config_.n_shards == 1) return push_part(0, std::move(values));
  for (std::size_t shard = 0; shard < config_.n_shards; ++shard) {
    push_part(shard, slice(values, range(number, shard), static_cast<std::size_t>(spec.width)));
  }
}

std::uint64_t Client::clock(double now, net::Bytes state) {
  if (!begin_command(now)) return next_request_++;
  ++own_clock_;  // the stamp of a clock counts the clock itself
  return operate_on_all(AnswerKind::clock, [&](std::size_t shard) {
    return net::ClockTick{stamp(shard), shard == 0 ? std::move(state) : net::Bytes()};
  });
}

std::uint64_t Client::all_reduce(double now, net::Values values, bool mean, double weight) {
  if (values.sparse) refuse("an all-reduce takes whole arrays");
  if (!std::isfinite(weight)) refuse("the weight of an all-reduce must be finite, not " + std::to_string(weight));
  if (!begin_command(now)) return next_request_++;
  if (reducing_) refuse("worker " + std::to_string(config_.worker) + " still waits for its last all-reduce");
  const std::uint64_t id = next_request_++;
  reducing_ = id;
  operate(0, net::AllReduce{stamp(0), round_, mean, weight, std::move(values)});
  request(0, id, net::Collect{links_[0].incarnation, links_[0].session, round_});
  ++round_;
  return id;
}

void Client::signal(double now, const std::string& name) {
  if (name.empty() || name.size() > 64) refuse("the name of a signal must have 1 to 64 bytes");
  if (begin_command(now)) operate(0, net::Signal{stamp(0), name});
}

void Client::report(double now, net::Bytes metrics) {
  if (begin_command(now)) operate(0, net::Report{stamp(0), std::move(metrics)});
}

std::uint64_t Client::leave(double now) {
  if (!begin_command(now)) return next_request_++;
  return operate_on_all(AnswerKind::left, [&](std::size_t shard) { return net::Leave{stamp(shard)}; });
}

std::vector<net::Frame> Client::letter(net::Values values, const std::string& name) {
  const Link& home = links_[0];
  const net::Letter letter{config_.worker, home.incarnation, home.session, next_letter_++, name, std::move(values)};
  return net::encode(letter, letter.number, config_.payload_checksum);
}

std::optional<Answer> Client::receive_letter(std::uint32_t peer, net::ByteSpan frame) {
  Mailbox& mailbox = mailboxes_.try_emplace(peer, Mailbox{net::Assembler(message_limit_), {}, {}}).first->second;
  const auto message = mailbox.assembler.add(frame);
  if (!message) return std::nullopt;
  return receive_letter(peer, *message);
}

std::optional<Answer> Client::receive_letter(std::uint32_t peer, const net::Message& message) {
  Mailbox& mailbox = mailboxes_.try_emplace(peer, Mailbox{net::Assembler(message_limit_), {}, {}}).first->second;
  if (message.type != net::MessageType::letter) net::malformed("a worker sends letters only");
  auto letter = net::decode<net::Letter>(message.body);
  if (letter.sender != peer) net::malformed("a letter in the name of another worker");
  const std::pair life(letter.incarnation, letter.session);
  if (life < mailbox.life) return std::nullopt;
  if (life > mailbox.life) {
    mailbox.life = life;
    mailbox.numbers.clear();
  }
  if (!mailbox.numbers.insert(letter.number).second) return std::nullopt;
  constexpr std::size_t kRemembered = 4096;
  if (mailbox.numbers.size() > kRemembered) mailbox.numbers.erase(mailbox.numbers.begin());
  Answer answer(AnswerKind::letter);
  answer.worker = letter.sender;
  answer.count = letter.number;
  answer.name = std::move(letter.name);
  answer.values = std::move(letter.values);
  return answer;
}

std::size_t Client::unacknowledged() const {
  std::size_t count = 0;
  for (const Link& link : links_) count += link.operations.size();
  return count;
}

std::size_t Client::unacknowledged_bytes() const {
  std::size_t bytes = 0;
  for (const Link& link : links_) {
    for (const Pending& pending : link.operations) {
      for (const auto& frame : pending.frames) bytes += frame->size();
    }
  }
  return bytes;
}

std::vector<Outgoing> Client::take_outgoing() { return std::exchange(outgoing_, {}); }

std::vector<Answer> Client::take_answers() { return std::exchange(answers_, {}); }

}  // namespace dsgd::server
