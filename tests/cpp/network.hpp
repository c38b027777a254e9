// Servers and workers joined by links that lose, repeat and reorder frames, break, and whose ends crash: all drawn from
// one seed. Each worker has an element of the table to itself, to which it adds 1 with each push; a ledger knows what
// must be in the table.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dsgd/core/random.hpp"
#include "dsgd/server/client.hpp"
#include "dsgd/server/server.hpp"

namespace dsgd::test {

struct Chances {  // in 1,000 steps
  std::uint64_t lose = 0;
  std::uint64_t repeat = 0;
  std::uint64_t cut = 0;
  std::uint64_t crash = 0;    // of a worker
  std::uint64_t restart = 0;  // of a server
};

struct Scenario {
  std::uint64_t seed;
  std::uint32_t n_workers = 4;
  std::size_t n_shards = 1;
  std::optional<std::uint64_t> staleness = 1;
  std::uint64_t clocks = 8;
  Chances chances;
  bool all_reduce = false;
  bool broken_gate = false;  // pulls claim to be of clock 0, so that no gate holds them: what a broken one would do
};

class Network {
 public:
  explicit Network(const Scenario& scenario) : scenario_(scenario), random_(scenario.seed, 0, 0) {
    tables_ = {{.name = "w", .size = scenario.n_workers, .dtype = net::DType::float64, .rule = server::Rule::add}};
    for (std::size_t shard = 0; shard < scenario.n_shards; ++shard) {
      servers_.push_back(std::make_unique<server::ParameterServer>(0.0, server_config(shard, 1)));
      saved_.emplace_back();
    }
    for (std::uint32_t rank = 0; rank < scenario.n_workers; ++rank) {
      workers_.emplace_back();
      saved_ledgers_.emplace_back();
      start(rank);
    }
  }

  /// Runs until all have left. Returns the number of answers that broke a promise.
  std::size_t run() {
    for (std::size_t step = 0; step < 400'000; ++step) {
      if (done()) {
        check_sums();
        return violations_;
      }
      now_ += 0.01;
      disturb();
      if (flying_.empty()) now_ = std::max(now_, next_deadline());
      for (std::uint32_t rank = 0; rank < workers_.size(); ++rank) {
        if (now_ >= workers_[rank].client->next_deadline()) workers_[rank].client->tick(now_);
        pump(rank);
      }
      for (std::size_t shard = 0; shard < servers_.size(); ++shard) apply(shard, servers_[shard]->tick(now_));
      if (!flying_.empty()) deliver();
    }
    FAIL("seed " << scenario_.seed << " does not come to an end");
    return violations_;
  }

  [[nodiscard]] std::size_t restarts() const { return restarts_; }
  [[nodiscard]] std::size_t rewinds() const { return rewinds_; }

 private:
  struct Entry {  // one push
    std::uint64_t clock;
    std::uint64_t sequence;
    bool settled;  // of a former life, and known to be in the table
  };

  struct Worker {
    std::unique_ptr<server::Client> client;
    std::vector<server::ConnectionId> connections;  // to the shards
    std::vector<Entry> ledger;
    std::uint64_t waits_for = 0;
    bool left = false;
    enum class At { pull, reduce, clock, leave } at = At::pull;
  };

  struct Flying {
    server::ConnectionId connection;
    std::uint32_t worker;
    std::size_t shard;
    bool to_server;
    net::Frame frame;
  };

  server::ServerConfig server_config(std::size_t shard, std::uint64_t incarnation) const {
    server::ServerConfig config;
    config.tables = tables_;
    config.n_workers = scenario_.n_workers;
    config.staleness = scenario_.staleness;
    config.shard = shard;
    config.n_shards = scenario_.n_shards;
    config.incarnation = incarnation;
    return config;
  }

  bool chance(std::uint64_t thousandths) { return thousandths > 0 && random_.below(1000) < thousandths; }

  std::size_t shard_of(std::uint32_t rank) const {
    for (std::size_t shard = 0;; ++shard) {
      if (rank < server::rows_of_shard(scenario_.n_workers, shard, scenario_.n_shards).end) return shard;
    }
  }

  void start(std::uint32_t rank) {
    server::ClientConfig config;
    config.worker = rank;
    config.tables = tables_;
    config.n_shards = scenario_.n_shards;
    config.deadline = 1e6;
    Worker& worker = workers_[rank];
    worker.client = std::make_unique<server::Client>(now_, config);
    worker.connections.assign(scenario_.n_shards, 0);
    for (std::size_t shard = 0; shard < scenario_.n_shards; ++shard) connect(rank, shard);
  }

  void connect(std::uint32_t rank, std::size_t shard) {
    const server::ConnectionId id = ++last_connection_;
    workers_[rank].connections[shard] = id;
    apply(shard, servers_[shard]->connected(now_, id));
    workers_[rank].client->connected(now_, shard);
  }

  void cut(std::uint32_t rank, std::size_t shard) {
    const server::ConnectionId id = workers_[rank].connections[shard];
    std::erase_if(flying_, [&](const Flying& f) { return f.connection == id; });
    apply(shard, servers_[shard]->disconnected(now_, id));
    workers_[rank].client->disconnected(now_, shard);
    connect(rank, shard);
  }

  void apply(std::size_t shard, const server::Effects& effects) {
    for (const auto& effect : effects) {
      for (std::uint32_t rank = 0; rank < workers_.size(); ++rank) {
        if (workers_[rank].connections.size() <= shard || workers_[rank].connections[shard] != effect.connection)
          continue;
        if (effect.frame) {
          flying_.push_back({effect.connection, rank, shard, false, effect.frame});
        } else {
          cut(rank, shard);
        }
        break;
      }
    }
  }

  void disturb() {
    const auto rank = static_cast<std::uint32_t>(random_.below(workers_.size()));
    const std::size_t shard = random_.below(servers_.size());
    if (chance(scenario_.chances.cut)) cut(rank, shard);
    if (chance(scenario_.chances.crash) && !workers_[rank].left) crash(rank);
    if (chance(scenario_.chances.restart) && saved_[shard]) restart(shard);
  }

  void crash(std::uint32_t rank) {
    Worker& worker = workers_[rank];
    settle(rank, applied(rank));
    for (std::size_t shard = 0; shard < servers_.size(); ++shard) {
      std::erase_if(flying_, [&](const Flying& f) { return f.worker == rank; });
      apply(shard, servers_[shard]->disconnected(now_, worker.connections[shard]));
    }
    worker.waits_for = 0;
    start(rank);
  }

  void restart(std::size_t shard) {
    ++restarts_;
    const std::uint64_t incarnation = servers_[shard]->incarnation() + 1;
    std::erase_if(flying_, [&](const Flying& f) { return f.shard == shard; });
    servers_[shard] =
        std::make_unique<server::ParameterServer>(now_, server_config(shard, incarnation), *saved_[shard]);
    for (std::uint32_t rank = 0; rank < workers_.size(); ++rank) {
      if (shard_of(rank) == shard) {
        workers_[rank].ledger = saved_ledgers_[rank];
        for (Entry& entry : workers_[rank].ledger) entry.settled = true;
      }
      if (workers_[rank].left) {  // was there when the checkpoint was made: is needed again
        settle(rank, applied(rank));
        start(rank);
      }
      workers_[rank].left = false;
      workers_[rank].waits_for = workers_[rank].at == Worker::At::leave ? workers_[rank].waits_for : 0;  // is void
      workers_[rank].client->disconnected(now_, shard);
      connect(rank, shard);
    }
  }

  /// The last operation of a worker that the shard of its element has applied.
  std::uint64_t applied(std::uint32_t rank) const {
    const auto saved = servers_[shard_of(rank)]->checkpoint();
    const auto at = saved.find("worker/" + std::to_string(rank));
    return at == saved.end() ? 0 : std::get<std::vector<std::uint64_t>>(at->second)[2];
  }

  /// A life has ended: what was not applied never will be.
  void settle(std::uint32_t rank, std::uint64_t applied) {
    auto& ledger = workers_[rank].ledger;
    std::erase_if(ledger, [&](const Entry& entry) { return !entry.settled && entry.sequence > applied; });
    for (Entry& entry : ledger) entry.settled = true;
  }

  void deliver() {
    const std::size_t index = random_.below(flying_.size());
    const Flying flying = flying_[index];
    if (!chance(scenario_.chances.repeat)) {
      flying_[index] = flying_.back();
      flying_.pop_back();
    }
    if (chance(scenario_.chances.lose)) return;
    if (!flying.to_server) {
      workers_[flying.worker].client->receive(now_, flying.shard, flying.frame->flat());
      pump(flying.worker);
      return;
    }
    auto& server = *servers_[flying.shard];
    const std::uint64_t slowest = server.clock().slowest();
    apply(flying.shard, server.receive(now_, flying.connection, flying.frame->flat()));
    if (server.clock().slowest() > slowest && scenario_.chances.restart > 0) save(flying.shard);
  }

  /// As a driver does: when the slowest clock has moved.
  void save(std::size_t shard) {
    saved_[shard] = servers_[shard]->checkpoint();
    for (std::uint32_t rank = 0; rank < workers_.size(); ++rank) {
      if (shard_of(rank) != shard) continue;
      const std::uint64_t last = applied(rank);
      saved_ledgers_[rank] = workers_[rank].ledger;
      std::erase_if(saved_ledgers_[rank], [&](const Entry& e) { return !e.settled && e.sequence > last; });
    }
  }

  void pump(std::uint32_t rank) {
    Worker& worker = workers_[rank];
    for (bool again = true; again;) {
      again = false;
      for (const auto& answer : worker.client->take_answers()) {
        again = true;
        program(rank, answer);
      }
    }
    for (const auto& out : worker.client->take_outgoing()) {
      if (out.frame) {
        flying_.push_back({worker.connections[out.shard], rank, out.shard, true, out.frame});
      } else {
        cut(rank, out.shard);
      }
    }
  }

  /// Pull, push one to three times, perhaps all-reduce, clock.
  void program(std::uint32_t rank, const server::Answer& answer) {
    using server::AnswerKind;
    Worker& worker = workers_[rank];
    server::Client& client = *worker.client;
    REQUIRE(answer.kind != AnswerKind::failed);
    if (answer.kind == AnswerKind::joined || answer.kind == AnswerKind::rewound) {
      if (answer.kind == AnswerKind::rewound) {
        ++rewinds_;
        settle(rank, client.acknowledged(shard_of(rank)));
      }
      // Pushes wait for the end of their clock, which this life begins anew.
      if (scenario_.staleness == 0U && scenario_.n_shards == 1) {
        std::erase_if(worker.ledger, [&](const Entry& entry) { return entry.clock >= client.own_clock(); });
      }
      return next_clock(rank);
    }
    if (answer.request == 0 || answer.request != worker.waits_for) return;
    switch (worker.at) {
      case Worker::At::pull:
        check_pull(rank, answer);
        for (std::uint64_t k = 0; k <= random_.below(3); ++k) {
          client.push(now_, "w", {true, {rank}, std::vector<double>{1.0}}, 1.0);
          worker.ledger.push_back({client.own_clock(), client.sent(shard_of(rank)), false});
        }
        if (scenario_.all_reduce) {
          worker.at = Worker::At::reduce;
          const std::vector<double> mine{static_cast<double>(client.own_clock())};
          worker.waits_for = client.all_reduce(now_, {false, {}, mine}, true, 1.0);
          return;
        }
        [[fallthrough]];
      case Worker::At::reduce:
        // Whoever takes part is in the same clock.
        if (worker.at == Worker::At::reduce) {
          violations_ += std::get<1>(answer.values->data)[0] != static_cast<double>(client.own_clock()) ? 1U : 0U;
        }
        worker.at = Worker::At::clock;
        worker.waits_for = client.clock(now_, {});
        return;
      case Worker::At::clock:
        return next_clock(rank);
      case Worker::At::leave:
        worker.left = true;
        return;
    }
  }

  void next_clock(std::uint32_t rank) {
    Worker& worker = workers_[rank];
    const std::uint64_t clock = worker.client->own_clock();
    if (clock >= scenario_.clocks) {
      worker.at = Worker::At::leave;
      worker.waits_for = worker.client->leave(now_);
    } else {
      worker.at = Worker::At::pull;
      worker.waits_for = worker.client->pull(now_, scenario_.broken_gate ? 0 : clock, "w", std::nullopt);
    }
  }

  void check_pull(std::uint32_t rank, const server::Answer& answer) {
    const auto& values = std::get<1>(answer.values->data);
    const std::uint64_t clock = workers_[rank].client->own_clock();
    const auto tau = scenario_.staleness;
    if (tau && answer.clocks.slowest + *tau < clock) ++violations_;
    for (std::uint32_t other = 0; other < workers_.size(); ++other) {
      const Worker& worker = workers_[other];
      std::size_t least = 0;
      std::size_t below = 0;
      for (const Entry& entry : worker.ledger) {
        const bool certain = entry.settled || entry.sequence <= worker.client->acknowledged(shard_of(other));
        least += certain && tau && entry.clock + *tau + 1 <= clock ? 1U : 0U;
        below += entry.clock < clock ? 1U : 0U;
      }
      const auto value = static_cast<std::size_t>(values[other]);
      const std::size_t all = worker.ledger.size();
      violations_ += value < least || value > all ? 1 : 0;
      if (other == rank) violations_ += value != all ? 1 : 0;  // read-my-writes
      // BSP: of the others exactly what was before this clock; a life that began anew may have pushed twice in one.
      const bool calm = scenario_.chances.crash + scenario_.chances.restart == 0;
      if (other != rank && tau == 0U && calm && rewinds_ == 0) violations_ += value != below ? 1 : 0;
    }
  }

  void check_sums() {
    for (std::uint32_t rank = 0; rank < workers_.size(); ++rank) {
      const std::size_t shard = shard_of(rank);
      const auto numbers = servers_[shard]->table("w").read(std::nullopt);
      const auto begin = servers_[shard]->table("w").range().begin;
      CHECK(workers_[rank].client->unacknowledged() == 0);
      CHECK(std::get<1>(numbers)[rank - begin] == static_cast<double>(workers_[rank].ledger.size()));
    }
  }

  bool done() const {
    for (const Worker& worker : workers_) {
      if (!worker.left) return false;
    }
    return true;
  }

  double next_deadline() const {
    double next = std::numeric_limits<double>::infinity();
    for (const Worker& worker : workers_) next = std::min(next, worker.client->next_deadline());
    for (const auto& server : servers_) next = std::min(next, server->next_deadline());
    return next;
  }

  Scenario scenario_;
  RandomStream random_;
  std::vector<server::TableSpec> tables_;
  double now_ = 0;
  server::ConnectionId last_connection_ = 0;
  std::vector<std::unique_ptr<server::ParameterServer>> servers_;
  std::vector<std::optional<server::Checkpoint>> saved_;
  std::vector<Worker> workers_;
  std::vector<std::vector<Entry>> saved_ledgers_;
  std::vector<Flying> flying_;
  std::size_t violations_ = 0;
  std::size_t restarts_ = 0;
  std::size_t rewinds_ = 0;
};

}  // namespace dsgd::test
