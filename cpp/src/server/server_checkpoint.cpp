// Saves the state of a server, and restores it in the next incarnation.
#include <utility>  // for move

#include "dsgd/server/server.hpp"

namespace dsgd::server {

using net::Status;

namespace {

using Words = std::vector<std::uint64_t>;

/// Status, finished clocks, last operation, session, and the former session if it may still be
/// used.
constexpr std::size_t kWorkerWords = 5;

std::string held_name(std::size_t index) { return "held/" + std::to_string(index); }

}  // namespace

Checkpoint ParameterServer::checkpoint() const {
  Checkpoint checkpoint;
  checkpoint["server"] =
      Words{config_.incarnation, layout_, config_.shard, applied_clock_, reducer_.round(), next_arrival_, held_.size()};
  for (const Table& table : tables_) table.save(checkpoint);
  Words ranks;
  for (const auto& [rank, worker] : workers_) {
    if (worker.status == Status::unknown) continue;
    ranks.push_back(rank);
    const std::string name = "worker/" + std::to_string(rank);
    checkpoint[name] = Words{static_cast<std::uint64_t>(worker.status), worker.clock, worker.applied, worker.session,
                             worker.confirmed ? 0 : worker.former_session};
    checkpoint[name + "/state"] = worker.state;
  }
  checkpoint["workers"] = std::move(ranks);
  std::size_t index = 0;
  for (const auto& [key, held] : held_) {
    const auto& [clock, rank, arrival] = key;
    checkpoint[held_name(index)] = Words{clock, rank, arrival, held.table};
    save_update(checkpoint, held_name(index), held.update);
    ++index;
  }
  for (const auto& signal : signals_.since(0).changed) {
    // A signal of a clock that its giver has not finished is given again, when the giver repeats the clock.
    const auto giver = workers_.find(signal.worker);
    if (giver != workers_.end() && signal.clock >= giver->second.clock) continue;
    checkpoint["signal/" + signal.name] = Words{signal.count, signal.worker, signal.clock, signal.version};
  }
  return checkpoint;
}

void ParameterServer::restore(const Checkpoint& checkpoint) {
  const Words& server = saved<std::uint64_t>(checkpoint, "server", 7);
  if (server[1] != layout_ || server[2] != config_.shard) {
    throw Error(ErrorCode::config, "the checkpoint is of other tables, or of another shard, than this server's");
  }
  if (server[0] >= config_.incarnation) {
    throw Error(ErrorCode::config, "incarnation must be larger than that of the checkpoint, " +
                                       std::to_string(server[0]) + ", not " + std::to_string(config_.incarnation));
  }
  applied_clock_ = server[3];
  reducer_.start_at(server[4]);
  next_arrival_ = server[5];
  for (Table& table : tables_) table.restore(checkpoint);

  workers_.clear();
  clock_ = SspClock(config_.staleness);
  expected_ = 0;
  for (const std::uint64_t number : saved<std::uint64_t>(checkpoint, "workers")) {
    const std::string name = "worker/" + std::to_string(number);
    const Words& words = saved<std::uint64_t>(checkpoint, name, kWorkerWords);
    if (number >= kMaxWorkers || words[0] > net::kLastStatus) {
      throw Error(ErrorCode::data, "'" + name + "' of the checkpoint is no worker");
    }
    Worker& worker = workers_[static_cast<std::uint32_t>(number)];
    worker.status = static_cast<Status>(words[0]);
    worker.clock = words[1];
    worker.applied = words[2];
    worker.session = words[3];
    worker.former_session = words[4];
    worker.state = saved<std::byte>(checkpoint, name + "/state");
    changed(worker);
    if (worker.status == Status::left) ++left_at_[worker.clock];
    if (!worker.counts()) continue;
    worker.status = Status::expected;
    ++expected_;
    clock_.add(worker.clock);
  }
  for (std::size_t index = 0; index < server[6]; ++index) {
    const Words& words = saved<std::uint64_t>(checkpoint, held_name(index), 4);
    Update update = restore_update(checkpoint, held_name(index));
    if (words[1] >= kMaxWorkers || words[3] >= tables_.size()) {
      throw Error(ErrorCode::data, "'" + held_name(index) + "' of the checkpoint is no push");
    }
    tables_[words[3]].check(*update.values, update.weight);
    held_.try_emplace(HeldKey{words[0], static_cast<std::uint32_t>(words[1]), words[2]},
                      Held{static_cast<std::size_t>(words[3]), std::move(update)});
  }
  constexpr std::string_view kSignal = "signal/";
  for (auto at = checkpoint.lower_bound(std::string(kSignal)); at != checkpoint.end(); ++at) {
    if (!at->first.starts_with(kSignal)) break;
    const Words& words = saved<std::uint64_t>(checkpoint, at->first, 4);
    signals_.restore(
        {at->first.substr(kSignal.size()), words[0], static_cast<std::uint32_t>(words[1]), words[2], words[3]});
  }
}

}  // namespace dsgd::server
