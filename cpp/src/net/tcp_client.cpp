#include "dsgd/net/tcp_client.hpp"

#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <atomic>              // for atomic
#include <chrono>              // for duration
#include <condition_variable>  // for condition_variable
#include <deque>               // for deque
#include <limits>              // for numeric_limits
#include <mutex>               // for scoped_lock, mutex, unique_lock
#include <utility>             // for move

#include "backoff.hpp"
#include "beat.hpp"
#include "dsgd/net/auth.hpp"
#include "io_thread.hpp"
#include "listener.hpp"
#include "peers.hpp"

namespace dsgd::net {

using asio::awaitable;
using server::Answer;
using server::AnswerKind;
using server::Client;

namespace {

/// Bytes that may be unacknowledged before a command waits.
constexpr std::size_t kUnacknowledgedBytes = std::size_t{256} << 20U;
/// Heartbeat intervals without a received byte after which a connection is replaced.
constexpr double kSilentHeartbeats = 2.5;

TcpClientOptions checked(TcpClientOptions options) {
  if (options.shards.empty()) throw Error(ErrorCode::config, "a worker needs the address of at least one shard");
  return options;
}

}  // namespace

/// `mutex_` guards the machine and the answers. Only the thread opens and closes connections.
class TcpClient::Impl {
 public:
  Impl(server::ClientConfig config, TcpClientOptions options)
      : token_(options.token),
        options_(checked(std::move(options))),
        tls_(options_.tls, token_),
        deadline_(config.deadline),
        stale_after_(kSilentHeartbeats * config.heartbeat_interval),
        thread_([this](const std::string& what) { give_up("config", what); }),
        beat_(thread_.context(), std::min({1.0, config.heartbeat_interval, config.deadline}) / 4),
        listener_(make_listener()),
        machine_(steady_now(), complete(std::move(config))),
        peers_(thread_.context(), machine_.worker(), token_, tls_, traffic_),
        connections_(options_.shards.size()) {}

  void start() {
    if (thread_.running() || stopping_) throw Error(ErrorCode::config, "a client is started once");
    for (std::size_t shard = 0; shard < connections_.size(); ++shard) {
      spawn(thread_.context(), keep_connected(shard));
    }
    if (listener_) spawn(thread_.context(), listener_->run());
    spawn(thread_.context(), keep_time());
    thread_.start();
  }

  void stop(double seconds) {
    if (stopping_.exchange(true)) return;
    asio::post(thread_.context(), [this, seconds] {
      if (listener_) listener_->close();
      for (const auto& connection : letters_in_) connection->close();
      beat_.cancel();
      for (auto* timer : pauses_) timer->cancel();
      peers_.stop(seconds);
      const std::scoped_lock lock(mutex_);
      for (const auto& connection : connections_) {
        if (!connection) continue;
        connection->finish();
        connection->close_after(seconds);
      }
    });
    if (!thread_.running()) thread_.context().run();
    thread_.join(seconds + 1);
    changed_.notify_all();
  }

  std::vector<Answer> wait(double seconds) {
    std::unique_lock lock(mutex_);
    wait_until(lock, seconds, [this] { return !answers_.empty() || stopping_; });
    return std::exchange(answers_, {});
  }

  /// Runs a command: waits until few enough bytes are unacknowledged, calls the machine, and sends
  /// the frames that result.
  template <typename Command>
  auto command(Command&& command) {
    std::unique_lock lock(mutex_);
    const auto fits = [this] {
      return machine_.done() || stopping_ || machine_.unacknowledged_bytes() <= kUnacknowledgedBytes;
    };
    if (!wait_until(lock, deadline_, fits)) {
      throw Error(ErrorCode::deadline, "the servers have acknowledged too little in " + std::to_string(deadline_) +
                                           " s: " + std::to_string(machine_.unacknowledged_bytes()) +
                                           " bytes are on the way");
    }
    struct Flush {  // also after an error
      Impl& impl;
      ~Flush() { impl.flush(); }
    } const flush{*this};
    return command(machine_);
  }

  void send_letter(std::uint32_t peer, Values values, const std::string& name) {
    std::vector<Frame> frames;
    {
      const std::scoped_lock lock(mutex_);
      frames = machine_.letter(std::move(values), name);
    }
    peers_.send(peer, std::move(frames), deadline_);
  }

  template <typename Use>
  auto locked(Use&& use) {
    const std::scoped_lock lock(mutex_);
    return use(machine_);
  }

  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  [[nodiscard]] const Traffic& traffic() const noexcept { return *traffic_; }

 private:
  /// Waits for `ready`, for at most `seconds`. During the wait it runs the context, unless another
  /// caller does. Returns whether `ready` is true.
  template <typename Ready>
  bool wait_until(std::unique_lock<std::mutex>& lock, double seconds, const Ready& ready) {
    if (ready() || seconds <= 0) return ready();
    const double end = steady_now() + std::min(seconds, 1e6);
    lock.unlock();
    {
      IoThread::Turn turn(thread_);
      bool goes_on = static_cast<bool>(turn);
      for (lock.lock(); goes_on && !ready(); lock.lock()) {
        lock.unlock();
        goes_on = turn.step(end - steady_now());
      }
    }
    return changed_.wait_for(lock, std::chrono::duration<double>(end - steady_now()), ready);
  }

  std::unique_ptr<Listener> make_listener() {
    if (!options_.listen) return nullptr;
    const auto [host, port] = split_listen_address(*options_.listen);
    auto listener = std::make_unique<Listener>(thread_.context(), token_, tls_,
                                               [this](std::shared_ptr<Connection> connection, Introduction who) {
                                                 return take_letters(std::move(connection), who);
                                               });
    listener->listen(host, port);
    address_ = join_address(options_.advertise.value_or(listener->host()), listener->port());
    return listener;
  }

  [[nodiscard]] server::ClientConfig complete(server::ClientConfig config) const {
    config.n_shards = options_.shards.size();
    config.address = address_;
    config.resend_after = std::numeric_limits<double>::infinity();  // TCP repeats lost bytes
    return config;
  }

  /// Moves the frames of the machine into the queues of the connections, and its answers to callers
  /// that wait. The caller holds the lock.
  void flush() {
    bool waits = false;
    for (const auto& [shard, frame] : machine_.take_outgoing()) {
      const auto& connection = connections_[shard];
      if (!connection) continue;
      if (frame) {
        connection->send({frame});
        waits = waits || connection->queued() > 0;
      } else {
        asio::post(thread_.context(), [connection] { connection->close(); });
      }
    }
    for (Answer& answer : machine_.take_answers()) {
      if (answer.kind == AnswerKind::members) peers_.introduce(answer.members);
      answers_.push_back(std::move(answer));
    }
    changed_.notify_all();
    if (waits) thread_.attend();
  }

  template <typename Step>
  void run(Step&& step) {
    const std::scoped_lock lock(mutex_);
    step(steady_now());
    flush();
  }

  void give_up(const std::string& kind, const std::string& message) {
    run([&](double /*now*/) { machine_.give_up(kind, message); });
  }

  [[nodiscard]] bool over() {
    const std::scoped_lock lock(mutex_);
    return stopping_ || machine_.done();
  }

  /// Keeps a connection to one shard, and connects again whenever it ends.
  awaitable<void> keep_connected(std::size_t shard) {
    Backoff backoff;
    asio::steady_timer pause(thread_.context());
    pauses_.push_back(&pause);
    while (!over()) {
      std::string fault;
      try {
        co_await talk(shard, backoff);
      } catch (const VersionError& error) {
        give_up("protocol", error.what());
      } catch (const Error& error) {
        fault = error.what();
        if (error.code() == ErrorCode::authentication) give_up("authentication", where(shard) + ": " + fault);
      } catch (const std::exception& error) {
        fault = error.what();
      }
      run([&](double now) {
        connections_[shard].reset();
        machine_.disconnected(now, shard, fault.empty() ? "" : where(shard) + ": " + fault);
      });
      if (over()) break;
      pause.expires_after(backoff.next());
      asio::error_code ignored;
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    std::erase(pauses_, &pause);
  }

  /// Runs one connection, from its beginning to its end.
  awaitable<void> talk(std::size_t shard, Backoff& backoff) {
    const HostAndPort address{options_.shards[shard].first, options_.shards[shard].second};
    const auto connection = co_await connect(address, kHandshakeSeconds);
    const struct Closed {  // closes it in any case: its timers would keep it alive
      Connection& connection;
      ~Closed() { connection.close(); }
    } closed{*connection};
    connection->count_in(traffic_);
    const Introduction who{Purpose::work, machine_.worker(), static_cast<std::uint32_t>(shard)};
    co_await introduce(connection, token_, tls_, address.host, who);
    if (stopping_) co_return;
    spawn(thread_.context(), connection->write_queue());
    run([&](double now) {
      connections_[shard] = connection;
      machine_.connected(now, shard);
    });
    Assembler assembler(machine_.message_limit());
    while (connection->open()) {
      const std::optional<Message> message = co_await connection->receive(assembler, kPieceBytes);
      backoff.reset();
      run([&](double now) {
        if (message) {
          machine_.receive(now, shard, *message);
        } else {
          machine_.heard(now, shard);
        }
      });
    }
  }

  awaitable<void> take_letters(std::shared_ptr<Connection> connection, Introduction who) {
    if (who.purpose != Purpose::letters || who.target != machine_.worker()) {
      const std::string message = "this is worker " + std::to_string(machine_.worker());
      co_await connection->refuse(FailureKind::protocol, who.worker, message);
      co_return;
    }
    connection->count_in(traffic_);
    letters_in_.push_back(connection);
    Assembler assembler(machine_.message_limit());
    try {
      while (!stopping_) {
        const std::optional<Message> message = co_await connection->receive(assembler, kPieceBytes);
        if (!message) continue;
        const std::scoped_lock lock(mutex_);
        if (auto letter = machine_.receive_letter(who.worker, *message)) {
          answers_.push_back(std::move(*letter));
          changed_.notify_all();
        }
      }
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): peers try again
    }
    connection->close();
    std::erase(letters_in_, connection);
  }

  awaitable<void> keep_time() {
    while (!over()) {
      const double late = co_await beat_.next();
      if (stopping_) break;
      run([&](double now) {
        if (late > 0) machine_.excuse(now, late);
        machine_.tick(now);
        for (const auto& connection : connections_) {
          if (connection && now - late - connection->last_received() > stale_after_) connection->close();
        }
      });
    }
    // The client has left or failed: it expects no more frames, and writes those that are queued.
    const std::scoped_lock lock(mutex_);
    for (const auto& connection : connections_) {
      if (connection) connection->finish();
    }
  }

  [[nodiscard]] std::string where(std::size_t shard) const {
    const auto& [host, port] = options_.shards[shard];
    return "server shard " + std::to_string(shard) + " at " + join_address(host, port);
  }

  const Token token_;
  const TcpClientOptions options_;
  Tls tls_;
  const double deadline_;
  const double stale_after_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Answer> answers_;

  std::atomic<bool> stopping_ = false;
  std::shared_ptr<Traffic> traffic_ = std::make_shared<Traffic>();
  std::string address_;
  IoThread thread_;
  Beat beat_;
  std::unique_ptr<Listener> listener_;
  std::vector<std::shared_ptr<Connection>> letters_in_;
  Client machine_;
  Peers peers_;
  std::vector<std::shared_ptr<Connection>> connections_;  // by shard
  std::vector<asio::steady_timer*> pauses_;
};

TcpClient::TcpClient(server::ClientConfig config, TcpClientOptions options)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(options))) {}

TcpClient::~TcpClient() { stop(0); }

void TcpClient::start() { impl_->start(); }
void TcpClient::stop(double seconds) { impl_->stop(seconds); }
std::vector<Answer> TcpClient::wait(double seconds) { return impl_->wait(seconds); }

std::uint64_t TcpClient::pull(double now, std::uint64_t clock, const std::string& table,
                              const std::optional<Keys>& keys) {
  return impl_->command([&](Client& machine) { return machine.pull(now, clock, table, keys); });
}

void TcpClient::push(double now, const std::string& table, Values values, double weight) {
  impl_->command([&](Client& machine) { machine.push(now, table, std::move(values), weight); });
}

std::uint64_t TcpClient::clock(double now, Bytes state) {
  return impl_->command([&](Client& machine) { return machine.clock(now, std::move(state)); });
}

std::uint64_t TcpClient::all_reduce(double now, Values values, bool mean, double weight) {
  return impl_->command([&](Client& machine) { return machine.all_reduce(now, std::move(values), mean, weight); });
}

void TcpClient::signal(double now, const std::string& name) {
  impl_->command([&](Client& machine) { machine.signal(now, name); });
}

void TcpClient::report(double now, Bytes metrics) {
  impl_->command([&](Client& machine) { machine.report(now, std::move(metrics)); });
}

std::uint64_t TcpClient::leave(double now) {
  return impl_->command([&](Client& machine) { return machine.leave(now); });
}

void TcpClient::send(std::uint32_t peer, Values values, const std::string& name) {
  impl_->send_letter(peer, std::move(values), name);
}

std::uint32_t TcpClient::worker() const {
  return impl_->locked([](Client& machine) { return machine.worker(); });
}

std::uint64_t TcpClient::own_clock() const {
  return impl_->locked([](Client& machine) { return machine.own_clock(); });
}

bool TcpClient::ready() const {
  return impl_->locked([](Client& machine) { return machine.ready(); });
}

std::size_t TcpClient::unacknowledged() const {
  return impl_->locked([](Client& machine) { return machine.unacknowledged(); });
}

const std::string& TcpClient::address() const { return impl_->address(); }
std::uint64_t TcpClient::bytes_sent() const { return impl_->traffic().sent; }
std::uint64_t TcpClient::bytes_received() const { return impl_->traffic().received; }

}  // namespace dsgd::net
