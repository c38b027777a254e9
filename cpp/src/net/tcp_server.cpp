#include "dsgd/net/tcp_server.hpp"

#include <asio/post.hpp>
#include <atomic>              // for atomic
#include <chrono>              // for duration
#include <condition_variable>  // for condition_variable
#include <deque>               // for deque
#include <map>                 // for map
#include <mutex>               // for scoped_lock, mutex, unique_lock
#include <utility>             // for move

#include "beat.hpp"
#include "dsgd/net/auth.hpp"
#include "io_thread.hpp"
#include "listener.hpp"

namespace dsgd::net {

using asio::awaitable;
using server::ConnectionId;
using server::Effects;
using server::ParameterServer;

namespace {

ParameterServer make_machine(server::ServerConfig config, const server::Checkpoint* checkpoint) {
  const double now = steady_now();
  return checkpoint != nullptr ? ParameterServer(now, std::move(config), *checkpoint)
                               : ParameterServer(now, std::move(config));
}

/// The interval of the beat in seconds, short enough to notice every deadline soon after it.
double beat_of(const server::ServerConfig& config) {
  return std::min({1.0, config.heartbeat_deadline, config.join_deadline}) / 4;
}

}  // namespace

/// `mutex_` guards the machine and the events. Connections belong to the thread.
class TcpServer::Impl {
 public:
  Impl(server::ServerConfig config, TcpServerOptions options, const server::Checkpoint* checkpoint)
      : token_(options.token),
        options_(std::move(options)),
        tls_(options_.tls, token_),
        beat_seconds_(beat_of(config)),
        heartbeat_deadline_(config.heartbeat_deadline),
        shard_(static_cast<std::uint32_t>(config.shard)),
        machine_(make_machine(std::move(config), checkpoint)),
        queue_limit_(2 * machine_.message_limit()),
        slowest_(machine_.clock().slowest()),
        thread_([this](const std::string& what) { fail(what); }),
        beat_(thread_.context(), beat_seconds_),
        listener_(thread_.context(), token_, tls_, [this](std::shared_ptr<Connection> connection, Introduction who) {
          return serve(std::move(connection), who);
        }) {
    if (options_.host.empty() && options_.port != 0) {
      throw Error(ErrorCode::config, "port " + std::to_string(options_.port) +
                                         " without a host: give the address to listen at, or port 0 to listen nowhere");
    }
    if (!options_.host.empty()) listener_.listen(options_.host, options_.port);
    if (!options_.snapshot_clocks.empty()) static_cast<void>(machine_.table(options_.snapshot_table));
  }

  void start() {
    if (thread_.running() || stopping_) throw Error(ErrorCode::config, "a server is started once");
    spawn(thread_.context(), listener_.run());
    spawn(thread_.context(), keep_time());
    thread_.start();
  }

  void adopt(int descriptor) {
    asio::ip::tcp::socket socket = socket_of(thread_.context(), descriptor);
    const std::scoped_lock lock(mutex_);
    if (stopping_ || thread_.context().stopped()) return;
    asio::post(thread_.context(), [this, socket = std::move(socket)]() mutable {
      if (!stopping_) listener_.enter(std::move(socket));
    });
  }

  void stop(double seconds) {
    {
      const std::scoped_lock lock(mutex_);  // the thread still runs what `adopt` has posted
      if (stopping_.exchange(true)) return;
    }
    asio::post(thread_.context(), [this, seconds] {
      listener_.close();
      beat_.cancel();
      for (const auto& [_, connection] : connections_) {
        connection->finish();
        connection->close_after(seconds);
      }
    });
    if (!thread_.running()) thread_.context().run();
    thread_.join(seconds + 1);
    changed_.notify_all();
  }

  template <typename Use>
  auto locked(Use&& use) {
    const std::scoped_lock lock(mutex_);
    return use(machine_);
  }

  std::vector<ServerEvent> wait(double seconds) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::duration<double>(std::min(seconds, 1e6)),
                      [this] { return !events_.empty() || stopping_; });
    std::vector<ServerEvent> taken(std::make_move_iterator(events_.begin()), std::make_move_iterator(events_.end()));
    events_.clear();
    return taken;
  }

  std::vector<WorkerTraffic> traffic() {
    const std::scoped_lock lock(mutex_);
    std::vector<WorkerTraffic> all;
    all.reserve(traffic_.size());
    for (const auto& [worker, traffic] : traffic_) all.push_back({worker, traffic->received, traffic->sent});
    return all;
  }

  [[nodiscard]] const Listener& listener() const noexcept { return listener_; }
  [[nodiscard]] bool started() const noexcept { return thread_.running(); }

 private:
  /// Serves one worker, as long as its connection lasts.
  awaitable<void> serve(std::shared_ptr<Connection> connection, Introduction who) {
    if (who.purpose != Purpose::work || who.target != shard_) {
      const std::string message = "this is shard " + std::to_string(shard_) + ", worker " + std::to_string(who.worker) +
                                  " wants " + (who.purpose == Purpose::work ? "shard " : "worker ") +
                                  std::to_string(who.target) + ": give the addresses of the shards in their order";
      co_await connection->refuse(FailureKind::config, who.worker, message);
      co_return;
    }
    if (stopping_) co_return connection->close();
    const ConnectionId id = enter(connection, who);
    spawn(thread_.context(), connection->write_queue());
    Assembler assembler(machine_.message_limit());
    try {
      while (connections_.contains(id)) {
        const std::optional<Message> message = co_await connection->receive(assembler, kPieceBytes);
        run([&](double now) {
          if (message) return machine_.receive(now, id, *message);
          machine_.heard(now, id);
          return Effects();
        });
      }
    } catch (const Error& error) {
      connection->send(encode(Failure{FailureKind::protocol, 0, error.what()}, 0, true));
      connection->finish();
    } catch (const std::system_error&) {
      connection->close();
    }
    connections_.erase(id);
    run([&](double now) { return machine_.disconnected(now, id); });
    if (connection->open()) co_await connection->drain();
  }

  ConnectionId enter(const std::shared_ptr<Connection>& connection, const Introduction& who) {
    const ConnectionId id = next_connection_++;
    {
      const std::scoped_lock lock(mutex_);
      auto& traffic = traffic_[who.worker];
      if (!traffic) traffic = std::make_shared<Traffic>();
      connection->count_in(traffic);
    }
    connections_.emplace(id, connection);
    run([&](double now) { return machine_.connected(now, id); });
    return id;
  }

  /// Calls `step` on the machine under the lock, and sends the frames that result.
  template <typename Step>
  void run(Step&& step) {
    Effects effects;
    {
      const std::scoped_lock lock(mutex_);
      const double now = steady_now();
      effects = step(now);
      notice(now);
    }
    for (const auto& [id, frame] : effects) {
      const auto at = connections_.find(id);
      if (at == connections_.end()) continue;
      if (frame) {
        at->second->send({frame});
        // The worker asks for much and reads nothing.
        if (at->second->queued() > queue_limit_) at->second->close();
      } else {
        at->second->finish();
        connections_.erase(at);
      }
    }
  }

  awaitable<void> keep_time() {
    double awake_since = 0;
    while (!stopping_) {
      const double late = co_await beat_.next();
      if (stopping_) break;
      run([&](double now) {
        if (late > 0) {
          machine_.excuse(now, late);
          awake_since = now;
        }
        return machine_.tick(now);
      });
      // Close the connections of peers that send nothing, and of peers that do not read the bytes
      // that wait for them.
      const double now = steady_now();
      for (const auto& [_, connection] : connections_) {
        const double written = std::max(connection->last_written(), awake_since);
        const bool deaf = connection->queued() > 0 && now - written > heartbeat_deadline_;
        const double heard = std::max(connection->last_received(), awake_since);
        if (deaf || now - heard > heartbeat_deadline_) connection->close();
      }
    }
  }

  /// Adds events for the changes of the machine since the last call. The caller holds the lock.
  void notice(double now) {
    const std::size_t before = events_.size();
    const std::uint64_t slowest = machine_.clock().empty() ? slowest_ : machine_.clock().slowest();
    if (slowest > slowest_) {
      const auto end = options_.snapshot_clocks.upper_bound(slowest);
      for (auto clock = options_.snapshot_clocks.upper_bound(slowest_); clock != end; ++clock) {
        add(ServerEvent::Kind::clock, now, *clock).values = machine_.table(options_.snapshot_table).read(std::nullopt);
      }
      const std::uint64_t every = options_.checkpoint_every;
      if (every > 0 && slowest / every > slowest_ / every) {
        add(ServerEvent::Kind::checkpoint, now, slowest).checkpoint = machine_.checkpoint();
      }
      slowest_ = slowest;
    }
    if (machine_.members_version() > members_version_) {
      members_version_ = machine_.members_version();
      add(ServerEvent::Kind::members, now, slowest);
    }
    if (machine_.finished() && !finished_) {
      finished_ = true;
      add(ServerEvent::Kind::finished, now, slowest);
    }
    if (machine_.failure() && !failed_) {
      failed_ = true;
      add(ServerEvent::Kind::failed, now, slowest).message = machine_.failure()->message;
    }
    if (events_.size() > before) changed_.notify_all();
  }

  ServerEvent& add(ServerEvent::Kind kind, double now, std::uint64_t clock) {
    return events_.emplace_back(ServerEvent{kind, now, clock, std::nullopt, std::nullopt, ""});
  }

  void fail(const std::string& what) {
    const std::scoped_lock lock(mutex_);
    add(ServerEvent::Kind::failed, steady_now(), slowest_).message = "the server has failed: " + what;
    changed_.notify_all();
  }

  const Token token_;
  const TcpServerOptions options_;
  Tls tls_;
  const double beat_seconds_;
  const double heartbeat_deadline_;
  const std::uint32_t shard_;

  std::mutex mutex_;
  std::condition_variable changed_;
  ParameterServer machine_;
  const std::size_t queue_limit_;  // bytes that may wait for one worker
  std::deque<ServerEvent> events_;
  std::map<std::uint32_t, std::shared_ptr<Traffic>> traffic_;
  std::uint64_t slowest_;
  std::uint64_t members_version_ = 0;
  bool finished_ = false;
  bool failed_ = false;

  std::atomic<bool> stopping_ = false;
  std::map<ConnectionId, std::shared_ptr<Connection>> connections_;
  ConnectionId next_connection_ = 1;
  IoThread thread_;  // destroyed before the members above, which it uses
  Beat beat_;
  Listener listener_;
};

TcpServer::TcpServer(server::ServerConfig config, TcpServerOptions options, const server::Checkpoint* checkpoint)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(options), checkpoint)) {}

TcpServer::~TcpServer() { stop(0); }

const std::string& TcpServer::host() const { return impl_->listener().host(); }
std::uint16_t TcpServer::port() const { return impl_->listener().port(); }
void TcpServer::start() { impl_->start(); }
void TcpServer::adopt(int descriptor) { impl_->adopt(descriptor); }
void TcpServer::stop(double seconds) { impl_->stop(seconds); }
std::vector<ServerEvent> TcpServer::wait(double seconds) { return impl_->wait(seconds); }

void TcpServer::assign(const std::string& table, const Numbers& values) {
  if (impl_->started()) throw Error(ErrorCode::config, "a table is assigned before the server is started");
  impl_->locked([&](ParameterServer& machine) { machine.table(table).assign(values); });
}

server::RowRange TcpServer::range(const std::string& table) const {
  return impl_->locked([&](ParameterServer& machine) { return machine.table(table).range(); });
}

Numbers TcpServer::snapshot(const std::string& table) const {
  return impl_->locked([&](ParameterServer& machine) { return machine.table(table).read(std::nullopt); });
}

server::Checkpoint TcpServer::checkpoint() const {
  return impl_->locked([](ParameterServer& machine) { return machine.checkpoint(); });
}

std::vector<server::ReportEntry> TcpServer::take_reports() {
  return impl_->locked([](ParameterServer& machine) { return machine.take_reports(); });
}

std::vector<std::uint32_t> TcpServer::take_order() {
  return impl_->locked([](ParameterServer& machine) { return machine.take_order(); });
}

std::vector<MemberState> TcpServer::members() const {
  return impl_->locked([](ParameterServer& machine) { return machine.members(); });
}

Clocks TcpServer::clocks() const {
  return impl_->locked([](ParameterServer& machine) {
    const auto& clock = machine.clock();
    return Clocks{0, clock.slowest(), clock.fastest(), static_cast<std::uint32_t>(clock.size())};
  });
}

bool TcpServer::finished() const {
  return impl_->locked([](ParameterServer& machine) { return machine.finished(); });
}

std::optional<std::string> TcpServer::failed() const {
  return impl_->locked([](ParameterServer& machine) -> std::optional<std::string> {
    if (!machine.failure()) return std::nullopt;
    return machine.failure()->message;
  });
}

std::uint64_t TcpServer::incarnation() const {
  return impl_->locked([](ParameterServer& machine) { return machine.incarnation(); });
}

std::vector<WorkerTraffic> TcpServer::traffic() const { return impl_->traffic(); }

}  // namespace dsgd::net
