// The members of a server: sessions, late joins, losses.
#include <algorithm>  // for any_of
#include <utility>    // for exchange

#include "server_send.hpp"

namespace dsgd::server {

using net::Status;

void ParameterServer::on_hello(ConnectionId id, Connection& connection, std::uint64_t request,
                               const net::Hello& hello) {
  if (hello.worker >= kMaxWorkers) {
    net::malformed("worker " + std::to_string(hello.worker) + "; ranks are below " + std::to_string(kMaxWorkers));
  }
  if (connection.worker && *connection.worker != hello.worker) net::malformed("one connection, two workers");
  if (hello.layout != layout_) {
    send(id,
         net::Failure{net::FailureKind::config, hello.worker,
                      "worker " + std::to_string(hello.worker) + " was given other tables or another number of " +
                          "shards than the server"},
         0);
    return close(id);
  }
  if (request < connection.last_hello) return;  // a late repetition of an older hello
  Worker& worker = workers_[hello.worker];
  const bool known = hello.session != 0 && hello.incarnation == config_.incarnation;
  const bool current = known && hello.session == worker.session;
  if (current && !hello.fresh && (worker.status == Status::live || worker.status == Status::left)) {
    if (worker.connection && *worker.connection != id) close(*worker.connection);
    connection.worker = hello.worker;
    connection.last_hello = request;
    worker.connection = id;
    worker.last_heard = now_;
    return welcome(hello.worker, id, request, worker.reached());
  }
  if (request == connection.last_hello && worker.connection == id) {
    return welcome(hello.worker, id, request, worker.applied);  // the first welcome was lost
  }
  if (known && !worker.owns(hello.session) && worker.status == Status::live && worker.connection) {
    send(id,
         net::Failure{net::FailureKind::config, hello.worker,
                      "worker " + std::to_string(hello.worker) + " was taken over by another process"},
         0);
    return close(id);
  }
  if (worker.connection && *worker.connection != id) close(*worker.connection);
  // A worker that begins anew would repeat its all-reduces of this clock, which the other workers
  // have already finished. It is therefore treated as lost, and joins again at the next clock.
  if (worker.status == Status::live && worker.rounds_in_clock > 0) {
    worker.connection.reset();  // `lose` must not close the new connection
    lose(hello.worker, "began anew");
  }
  if (failure_) return send(id, *failure_, 0);
  connection.worker = hello.worker;
  connection.last_hello = request;
  if (!worker.counts() && join_must_wait()) {
    joiners_.insert_or_assign(hello.worker, Joiner{id, request, hello});
    if (config_.shard == 0 && expected_ == 0) send(id, members_since(0), 0);  // so that it knows that the server lives
  } else {
    begin_life(hello.worker, id, request, hello);
  }
  settle();
}

/// Whether a worker has finished all-reduces of its present clock. A joiner would make them again.
bool ParameterServer::join_must_wait() const {
  return std::ranges::any_of(workers_, [this](const auto& entry) {
    const auto& [rank, worker] = entry;
    return worker.counts() && worker.rounds_in_clock > (reducer_.has(rank) ? 1U : 0U);
  });
}

void ParameterServer::admit_joiners() {
  for (const auto& [rank, joiner] : std::exchange(joiners_, {})) {
    begin_life(rank, joiner.connection, joiner.request, joiner.hello);
  }
}

void ParameterServer::begin_life(std::uint32_t rank, ConnectionId id, std::uint64_t request, const net::Hello& hello) {
  Worker& worker = workers_.at(rank);
  if (!worker.owns(hello.session)) worker.applied = 0;  // a new process counts operations from 1
  worker.former_session = hello.session;
  worker.confirmed = false;
  if (worker.status == Status::expected) {
    --expected_;
  } else if (worker.status != Status::live) {
    if (worker.status == Status::left && --left_at_[worker.clock] == 0) left_at_.erase(worker.clock);
    worker.clock = std::max(worker.clock, clock_.slowest());
    clock_.add(worker.clock);
  }
  if (worker.status != Status::live) {
    worker.status = Status::live;
    urgent_change_ = true;
  }
  joined_any_ = true;
  // The incarnation makes session numbers unique over all incarnations.
  worker.session = (config_.incarnation << 32U) + next_session_++;
  worker.first_sequence = std::max<std::uint64_t>(hello.next_sequence, 1);
  worker.connection = id;
  worker.last_heard = now_;
  worker.rounds_in_clock = 0;
  // The new life repeats the clock: what the former one did in it must not count twice.
  reducer_.withdraw(rank);
  // One of several shards does not know where the new life begins: others may have had its last clock.
  if (config_.n_shards == 1) {
    std::erase_if(held_, [&](const auto& entry) {
      return std::get<1>(entry.first) == rank && std::get<0>(entry.first) >= worker.clock;
    });
  }
  worker.pulls.clear();
  worker.collecting.reset();
  worker.address = hello.address;
  changed(worker);
  deadline_ = std::min(deadline_, now_ + config_.heartbeat_deadline);
  welcome(rank, id, request, worker.applied);
}

void ParameterServer::welcome(std::uint32_t rank, ConnectionId id, std::uint64_t request, std::uint64_t applied) {
  const Worker& worker = workers_.at(rank);
  send(id,
       net::Welcome{config_.incarnation, worker.session, applied, clocks_of(worker), reducer_.round(), worker.state},
       request);
  if (config_.shard != 0) return;
  if (expected_ == 0) send(id, members_since(0), 0);
  if (signals_.version() > 0) send(id, signals_.since(0), 0);
}

void ParameterServer::lose(std::uint32_t rank, const std::string& why) {
  Worker& worker = workers_.at(rank);
  if (worker.status == Status::expected) --expected_;
  worker.status = Status::lost;
  worker.pulls.clear();
  worker.collecting.reset();
  clock_.remove(worker.clock);
  for (Table& table : tables_) table.forget(rank);
  if (worker.connection) close(*worker.connection);
  changed(worker);
  urgent_change_ = true;
  if (config_.fail_on_lost) {
    fail(net::FailureKind::worker_lost, rank, "worker " + std::to_string(rank) + " is lost: it " + why);
  }
}

void ParameterServer::leave(std::uint32_t rank) {
  Worker& worker = workers_.at(rank);
  worker.status = Status::left;
  worker.pulls.clear();
  worker.collecting.reset();
  clock_.remove(worker.clock);
  ++left_at_[worker.clock];
  changed(worker);
}

void ParameterServer::announce_members() {
  // With a thousand workers, a message for every join and leave would be too many. Joins before the
  // start and leaves are therefore told with the next heartbeat.
  if (!urgent_change_ || expected_ > 0 || config_.shard != 0) return;
  urgent_change_ = false;
  broadcast(members_since(announced_version_));
  announced_version_ = members_version_;
}

net::Members ParameterServer::members_since(std::uint64_t since) const {
  net::Members message{since, {}};
  for (auto& member : members()) {
    if (member.version > since) message.changed.push_back(std::move(member));
  }
  return message;
}

}  // namespace dsgd::server
