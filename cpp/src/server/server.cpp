#include "dsgd/server/server.hpp"

#include <algorithm>  // for max, min
#include <cmath>      // for isfinite
#include <limits>     // for numeric_limits
#include <utility>    // for exchange, move

#include "server_send.hpp"

namespace dsgd::server {
namespace {

void check(const ServerConfig& config) {
  check_tables(config.tables);
  const auto refuse = [](const std::string& what) { throw Error(ErrorCode::config, what); };
  if (config.n_workers == 0 || config.n_workers > ParameterServer::kMaxWorkers) {
    refuse("n_workers must be in [1, " + std::to_string(ParameterServer::kMaxWorkers) + "], not " +
           std::to_string(config.n_workers));
  }
  if (config.n_shards == 0 || config.n_shards > ParameterServer::kMaxWorkers || config.shard >= config.n_shards) {
    refuse("shard " + std::to_string(config.shard) + " of " + std::to_string(config.n_shards) + " is not possible");
  }
  if (config.incarnation == 0 || config.incarnation >= std::uint64_t{1} << 31U) {
    refuse("incarnation must be in [1, 2^31), not " + std::to_string(config.incarnation));
  }
  const std::pair<const char*, double> deadlines[] = {{"heartbeat_deadline", config.heartbeat_deadline},
                                                      {"join_deadline", config.join_deadline}};
  for (const auto& [name, seconds] : deadlines) {
    if (!(seconds > 0)) refuse(std::string(name) + " must be positive, not " + std::to_string(seconds));
  }
}

}  // namespace

ParameterServer::ParameterServer(double now, ServerConfig config)
    : config_((check(config), std::move(config))),
      layout_(layout_of(config_.tables, config_.n_shards)),
      message_limit_(longest_message(config_.tables)),
      now_(now),
      join_at_(now + config_.join_deadline),
      deadline_(join_at_),
      clock_(config_.staleness) {
  for (const TableSpec& spec : config_.tables) tables_.emplace_back(spec, config_.shard, config_.n_shards);
  for (std::uint32_t rank = 0; rank < config_.n_workers; ++rank) {
    workers_[rank].status = net::Status::expected;
    clock_.add(0);
  }
  expected_ = config_.n_workers;
}

ParameterServer::ParameterServer(double now, ServerConfig config, const Checkpoint& checkpoint)
    : ParameterServer(now, std::move(config)) {
  restore(checkpoint);
}

Effects ParameterServer::connected(double now, ConnectionId connection) {
  now_ = std::max(now_, now);
  connections_.try_emplace(connection, Connection{net::Assembler(message_limit_), std::nullopt});
  return take_effects();
}

Effects ParameterServer::disconnected(double now, ConnectionId connection) {
  now_ = std::max(now_, now);
  const auto at = connections_.find(connection);
  if (at == connections_.end()) return take_effects();
  if (at->second.worker) {
    Worker& worker = workers_.at(*at->second.worker);
    if (worker.connection == connection) worker.connection.reset();  // its deadline still runs
  }
  std::erase_if(joiners_, [&](const auto& joiner) { return joiner.second.connection == connection; });
  connections_.erase(at);
  return take_effects();
}

Effects ParameterServer::receive(double now, ConnectionId connection, net::ByteSpan frame) {
  return take_in(now, connection, [&](Connection& from) { return from.assembler.add(frame); });
}

Effects ParameterServer::receive(double now, ConnectionId connection, const net::Message& message) {
  return take_in(now, connection, [&](Connection& /*from*/) { return std::optional(message); });
}

void ParameterServer::heard(double now, ConnectionId connection) {
  now_ = std::max(now_, now);
  const auto at = connections_.find(connection);
  if (at == connections_.end()) return;
  const std::optional<std::uint32_t>& rank = at->second.worker;
  if (rank) workers_.at(*rank).last_heard = now_;
}

template <typename Take>
Effects ParameterServer::take_in(double now, ConnectionId connection, Take&& take) {
  now_ = std::max(now_, now);
  const auto at = connections_.find(connection);
  if (at == connections_.end()) return take_effects();  // it arrived after the close
  try {
    const std::optional<net::Message> message = take(at->second);
    if (at->second.worker) workers_.at(*at->second.worker).last_heard = now_;
    if (message) dispatch(connection, at->second, *message);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::protocol) throw;
    send(connection, net::Failure{net::FailureKind::protocol, 0, error.what()}, 0);
    close(connection);
  }
  return take_effects();
}

Effects ParameterServer::tick(double now) {
  now_ = std::max(now_, now);
  if (now_ < deadline_) return take_effects();
  std::vector<std::pair<std::uint32_t, std::string>> overdue;
  double next = std::numeric_limits<double>::infinity();
  for (const auto& [rank, worker] : workers_) {
    if (!worker.counts()) continue;
    const bool live = worker.status == net::Status::live;
    const double due = live ? worker.last_heard + config_.heartbeat_deadline : join_at_;
    if (now_ < due) {
      next = std::min(next, due);
    } else if (live) {
      overdue.emplace_back(rank, "was silent for " + std::to_string(now_ - worker.last_heard) + " s");
    } else {
      overdue.emplace_back(rank, "has not come");
    }
  }
  deadline_ = next;
  for (const auto& [rank, why] : overdue) lose(rank, why);
  if (!overdue.empty()) settle();
  return take_effects();
}

void ParameterServer::excuse(double now, double seconds) {
  join_at_ += seconds;
  for (auto& [_, worker] : workers_) worker.last_heard = std::min(worker.last_heard + seconds, now);
}

Effects ParameterServer::take_effects() { return std::exchange(effects_, {}); }

void ParameterServer::dispatch(ConnectionId id, Connection& connection, const net::Message& message) {
  using net::MessageType;
  if (failure_) {
    send(id, *failure_, 0);
    return;
  }
  if (message.type == MessageType::hello) {
    on_hello(id, connection, message.request, net::decode<net::Hello>(message.body));
    return;
  }
  if (!connection.worker) net::malformed("a connection must begin with a hello");
  const std::uint32_t rank = *connection.worker;
  switch (message.type) {
    case MessageType::push:
      return on_operation(rank, net::decode<net::Push>(message.body));
    case MessageType::clock:
      return on_operation(rank, net::decode<net::ClockTick>(message.body));
    case MessageType::all_reduce:
      return on_operation(rank, net::decode<net::AllReduce>(message.body));
    case MessageType::signal:
      return on_operation(rank, net::decode<net::Signal>(message.body));
    case MessageType::report:
      return on_operation(rank, net::decode<net::Report>(message.body));
    case MessageType::leave:
      return on_operation(rank, net::decode<net::Leave>(message.body));
    case MessageType::pull:
      return on_pull(rank, message.request, net::decode<net::Pull>(message.body));
    case MessageType::collect:
      return on_collect(rank, message.request, net::decode<net::Collect>(message.body));
    case MessageType::heartbeat:
      return on_heartbeat(rank, net::decode<net::Heartbeat>(message.body));
    default:
      net::malformed("message of type " + std::to_string(static_cast<int>(message.type)) + " is not for a server");
  }
}

void ParameterServer::close(ConnectionId connection) {
  const auto at = connections_.find(connection);
  if (at == connections_.end()) return;
  if (at->second.worker) {
    Worker& worker = workers_.at(*at->second.worker);
    if (worker.connection == connection) worker.connection.reset();
  }
  std::erase_if(joiners_, [&](const auto& joiner) { return joiner.second.connection == connection; });
  connections_.erase(at);
  effects_.push_back({connection, nullptr});
}

void ParameterServer::fail(net::FailureKind kind, std::uint32_t worker, const std::string& message) {
  if (failure_) return;
  failure_ = net::Failure{kind, worker, message};
  broadcast(*failure_);
}

Table& ParameterServer::table(const std::string& name) {
  for (Table& table : tables_) {
    if (table.name() == name) return table;
  }
  throw Error(ErrorCode::config, "there is no table '" + name + "'");
}

std::vector<ReportEntry> ParameterServer::take_reports() { return std::exchange(reports_, {}); }
std::vector<std::uint32_t> ParameterServer::take_order() { return std::exchange(order_, {}); }

std::vector<net::MemberState> ParameterServer::members() const {
  std::vector<net::MemberState> all;
  for (const auto& [rank, worker] : workers_) {
    if (worker.status == net::Status::unknown) continue;
    all.push_back({rank, worker.status, worker.clock, worker.address, worker.version});
  }
  return all;
}

}  // namespace dsgd::server
