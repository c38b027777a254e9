// The messages of workers: operations, pulls, clocks, all-reduces.
#include <algorithm>  // for any_of, sort
#include <utility>    // for move

#include "server_send.hpp"

namespace dsgd::server {

using net::Status;

template <typename Body>
void ParameterServer::on_operation(std::uint32_t rank,
                                   Body body) {  // NOLINT(performance-unnecessary-value-param): moved
  Worker& worker = workers_.at(rank);
  if (body.stamp.worker != rank) net::malformed("an operation in the name of another worker");
  // The operation belongs to an earlier incarnation of the server, or precedes the loss of this
  // worker. The worker knows, or will be told.
  if (body.stamp.incarnation != config_.incarnation) return;
  if (worker.status != Status::live && worker.status != Status::left) return;
  if (body.stamp.sequence == worker.reached() + 1 && worker.status == Status::live) {
    perform(rank, body);
    if (config_.record_order) order_.push_back(rank);
    worker.confirmed = true;
    worker.applied = body.stamp.sequence;
    acknowledge(worker);
    settle();  // first: it applies pushes that the pulls must see
    answer_ready(rank);
  } else {
    acknowledge(worker);  // it is a repetition, or has overtaken another
  }
}

template void ParameterServer::on_operation(std::uint32_t, net::Push);
template void ParameterServer::on_operation(std::uint32_t, net::ClockTick);
template void ParameterServer::on_operation(std::uint32_t, net::AllReduce);
template void ParameterServer::on_operation(std::uint32_t, net::Signal);
template void ParameterServer::on_operation(std::uint32_t, net::Report);
template void ParameterServer::on_operation(std::uint32_t, net::Leave);

void ParameterServer::perform(std::uint32_t rank, net::Push& push) {
  const std::uint64_t clock = workers_.at(rank).clock;
  if (push.stamp.clock != clock) net::malformed("a push of another clock than the worker's");
  if (push.table >= tables_.size()) net::malformed("there is no table number " + std::to_string(push.table));
  Table& table = tables_[push.table];
  table.check(push.values, push.weight);
  Update update{rank, push.weight, std::make_shared<const net::Values>(std::move(push.values))};
  if (clock_.barrier() || table.per_clock()) {
    held_.try_emplace(HeldKey{clock, rank, next_arrival_++}, Held{push.table, std::move(update)});
  } else {
    table.apply(update, workers_of(clock));
  }
}

void ParameterServer::perform(std::uint32_t rank, const net::ClockTick& tick) {
  Worker& worker = workers_.at(rank);
  constexpr std::uint64_t kMaxClock = std::uint64_t{1} << 48U;
  if (tick.stamp.clock <= worker.clock || tick.stamp.clock > kMaxClock) net::malformed("a clock that does not move on");
  clock_.advance(worker.clock, tick.stamp.clock);
  worker.clock = tick.stamp.clock;
  worker.state = tick.state;
  worker.rounds_in_clock = 0;
}

void ParameterServer::perform(std::uint32_t rank, const net::AllReduce& contribution) {
  coordinating_shard_only();
  if (contribution.values.sparse) net::malformed("an all-reduce of single rows");
  reducer_.contribute(rank, contribution);
  ++workers_.at(rank).rounds_in_clock;
}

void ParameterServer::perform(std::uint32_t rank, const net::Signal& signal) {
  coordinating_shard_only();
  if (!signals_.has_room_for(signal.name)) {
    return fail(net::FailureKind::config, rank,
                "signal '" + signal.name + "' is one name too many: a run has at most " +
                    std::to_string(SignalBoard::kMaxNames) + " names of signals");
  }
  const std::uint64_t before = signals_.version();
  signals_.give(signal.name, rank, signal.stamp.clock);
  broadcast(signals_.since(before));
}

void ParameterServer::perform(std::uint32_t rank, const net::Report& report) {
  coordinating_shard_only();
  reports_.push_back({rank, report.stamp.clock, now_, report.metrics});
}

void ParameterServer::perform(std::uint32_t rank, const net::Leave& /*leave*/) { leave(rank); }

void ParameterServer::on_pull(std::uint32_t rank, std::uint64_t request, net::Pull pull) {
  Worker& worker = workers_.at(rank);
  if (pull.incarnation != config_.incarnation || pull.session != worker.session) return;
  worker.confirmed = true;
  if (worker.status != Status::live) return;
  if (pull.table >= tables_.size()) net::malformed("there is no table number " + std::to_string(pull.table));
  if (pull.sparse) tables_[pull.table].check_keys(pull.keys);
  const auto same = [&](const WaitingPull& waiting) { return waiting.request == request; };
  if (std::ranges::any_of(worker.pulls, same)) return;
  constexpr std::size_t kMaxWaiting = 1024;
  if (worker.pulls.size() == kMaxWaiting) net::malformed("more than 1024 pulls wait for one worker");
  worker.pulls.push_back({next_arrival_++, request, std::move(pull)});
  answer_ready(rank);
}

bool ParameterServer::ready(const Worker& worker, const net::Pull& pull) const {
  return worker.reached() >= pull.after && clock_.admits(pull.clock);
}

void ParameterServer::answer(std::uint32_t rank, const WaitingPull& waiting) {
  const Worker& worker = workers_.at(rank);
  const net::Pull& pull = waiting.pull;
  const Table* table = &tables_[pull.table];
  std::optional<Table> with_own;
  if (!table->per_clock()) with_own = with_held(rank, pull.table);
  if (with_own) table = &*with_own;
  auto rope = pull.sparse || config_.wire != net::Wire::exact ? std::nullopt : table->rope();
  if (rope) return send_to(worker, net::PagedPullAnswer{clocks_of(worker), std::move(*rope)}, waiting.request);
  net::Values values{false, {}, table->read(pull.sparse ? std::optional(pull.keys) : std::nullopt)};
  send_to(worker, net::PullAnswer{clocks_of(worker), std::move(values)}, waiting.request, config_.wire);
}

/// A copy of the table with the worker's own pushes that wait for the end of their clock. Empty if
/// no push waits.
std::optional<Table> ParameterServer::with_held(std::uint32_t rank, std::size_t table) const {
  std::optional<Table> with_own;
  for (auto at = held_.begin(); at != held_.end();) {
    const std::uint64_t clock = std::get<0>(at->first);
    const auto end = held_.lower_bound({clock, rank + 1, 0});
    for (auto own = held_.lower_bound({clock, rank, 0}); own != end; ++own) {
      if (own->second.table != table) continue;
      if (!with_own) with_own = tables_[table];
      with_own->apply(own->second.update, workers_of(clock));
    }
    at = held_.lower_bound({clock + 1, 0, 0});
  }
  return with_own;
}

void ParameterServer::answer_ready(std::uint32_t rank) {
  Worker& worker = workers_.at(rank);
  std::erase_if(worker.pulls, [&](const WaitingPull& waiting) {
    if (!ready(worker, waiting.pull)) return false;
    answer(rank, waiting);
    return true;
  });
}

void ParameterServer::answer_all_ready() {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> order;  // longest waiting pull first
  for (const auto& [rank, worker] : workers_) {
    for (const WaitingPull& waiting : worker.pulls) {
      if (ready(worker, waiting.pull)) order.emplace_back(waiting.arrival, rank);
    }
  }
  std::ranges::sort(order);
  for (const auto& [_, rank] : order) answer_ready(rank);
}

void ParameterServer::on_collect(std::uint32_t rank, std::uint64_t request, const net::Collect& collect) {
  coordinating_shard_only();
  Worker& worker = workers_.at(rank);
  if (collect.incarnation != config_.incarnation || collect.session != worker.session) return;
  if (const net::Values* result = reducer_.result(collect.round)) {
    send_to(worker, net::CollectAnswer{*result}, request);
  } else if (collect.round == reducer_.round()) {
    worker.collecting = request;
  }
}

void ParameterServer::on_heartbeat(std::uint32_t rank, const net::Heartbeat& heartbeat) {
  Worker& worker = workers_.at(rank);
  if (heartbeat.incarnation != config_.incarnation || heartbeat.session != worker.session) return;
  worker.confirmed = true;
  acknowledge(worker);
  if (config_.shard != 0) return;
  if (heartbeat.signals_seen < signals_.version()) send_to(worker, signals_.since(heartbeat.signals_seen), 0);
  if (heartbeat.members_seen < members_version_ && expected_ == 0) {
    send_to(worker, members_since(heartbeat.members_seen), 0);
  }
}

/// To be called after any change of clocks, members or contributions. Completes an all-reduce,
/// applies pushes, admits joiners and answers pulls, if the change allows it.
void ParameterServer::settle() {
  if (failure_) return;
  complete_all_reduce();
  const bool ended = clock_.slowest() > applied_clock_ || clock_.empty();
  if (ended) apply_finished_clocks();
  if (!joiners_.empty() && !join_must_wait()) admit_joiners();
  if (ended) answer_all_ready();
  announce_members();
}

void ParameterServer::apply_finished_clocks() {
  applied_clock_ = std::max(applied_clock_, clock_.slowest());
  while (!held_.empty()) {
    const std::uint64_t clock = std::get<0>(held_.begin()->first);
    if (clock >= applied_clock_ && !clock_.empty()) return;
    const std::size_t workers = workers_of(clock);
    while (!held_.empty() && std::get<0>(held_.begin()->first) == clock) {
      const Held& held = held_.begin()->second;
      tables_[held.table].apply(held.update, workers);
      held_.erase(held_.begin());
    }
    for (Table& table : tables_) table.finish_clock();
  }
}

void ParameterServer::complete_all_reduce() {
  if (clock_.empty() || reducer_.empty()) return;
  for (const auto& [rank, worker] : workers_) {
    if (worker.counts() && !reducer_.has(rank)) return;
  }
  if (const auto mismatch = reducer_.mismatch()) {
    fail(net::FailureKind::config, 0, *mismatch);
    return;
  }
  const net::CollectAnswer result{reducer_.complete()};
  for (auto& [_, worker] : workers_) {
    if (!worker.collecting) continue;
    send_to(worker, result, *worker.collecting);
    worker.collecting.reset();
  }
}

/// The number of workers that share a clock: all that count, and those that left after they had
/// finished the clock.
std::size_t ParameterServer::workers_of(std::uint64_t clock) const {
  std::size_t workers = clock_.size();
  for (auto at = left_at_.upper_bound(clock); at != left_at_.end(); ++at) workers += at->second;
  return std::max<std::size_t>(workers, 1);
}

net::Clocks ParameterServer::clocks_of(const Worker& worker) const {
  return {worker.clock, clock_.slowest(), clock_.fastest(), static_cast<std::uint32_t>(clock_.size())};
}

void ParameterServer::acknowledge(const Worker& worker) {
  send_to(worker, net::Acknowledge{config_.incarnation, worker.session, worker.reached(), clocks_of(worker)}, 0);
}

void ParameterServer::coordinating_shard_only() const {
  if (config_.shard != 0) net::malformed("signals, reports and all-reduces go to shard 0");
}

}  // namespace dsgd::server
