// A context of Asio and the thread that runs it, unless somebody who waits for what it brings does so meanwhile.
#pragma once

#include <asio/awaitable.hpp>   // for awaitable
#include <asio/co_spawn.hpp>    // for co_spawn
#include <asio/io_context.hpp>  // for io_context
#include <atomic>               // for atomic
#include <condition_variable>   // for condition_variable
#include <exception>            // for exception_ptr, rethrow_exception
#include <functional>           // for function
#include <mutex>                // for mutex, unique_lock
#include <string>               // for string
#include <thread>               // for thread
#include <utility>              // for move

namespace dsgd::net {

/// Starts a coroutine. What it throws and does not catch ends the run of the context.
template <typename Executor>
void spawn(Executor&& executor, asio::awaitable<void> coroutine) {
  asio::co_spawn(executor, std::move(coroutine), [](const std::exception_ptr& thrown) {
    if (thrown) std::rethrow_exception(thrown);
  });
}

/// What runs in the context runs in one thread at a time, and each sees what the one before it has done.
class IoThread {
 public:
  /// `failed` is told of an exception that nobody has caught; nothing runs after it.
  explicit IoThread(std::function<void(const std::string&)> failed) : failed_(std::move(failed)) {}
  ~IoThread() { join(0); }
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  [[nodiscard]] asio::io_context& context() noexcept { return context_; }
  [[nodiscard]] bool running() const noexcept { return thread_.joinable(); }
  /// Runs until nothing is left to do. Signals stay with the program's own threads.
  void start();
  /// Waits for the end, at most `seconds`; then ends it.
  void join(double seconds);

  /// There is something to do now: the thread does not wait for a caller who may come back.
  void attend();

  /// The caller runs the context instead of the thread: who waits for an answer need not be woken by who has read it.
  class Turn {
   public:
    explicit Turn(IoThread& thread);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    /// False if another caller has the turn, or nothing runs any more: then wait in another way.
    [[nodiscard]] explicit operator bool() const noexcept { return taken_; }
    /// Runs what is ready, or waits for something that is, at most `seconds`; false if there was nothing, nor will be.
    [[nodiscard]] bool step(double seconds);

   private:
    IoThread& thread_;
    bool taken_ = false;
    bool stepped_ = false;
  };

 private:
  void run();
  void wait_for_turn(std::unique_lock<std::mutex>& lock);
  /// One handler, within `seconds`; false if there will be none.
  bool step(double seconds);
  /// One handler that is ready, or will be in a moment; looks again and again instead of sleeping where that pays.
  bool poll();

  asio::io_context context_{1};
  std::function<void(const std::string&)> failed_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool runs_ = false;                // the thread runs the context
  std::atomic<bool> caller_{false};  // a caller does, or is about to
  bool sleeps_ = false;              // the thread wants to be woken when the caller leaves
  bool wanted_ = false;              // by `attend`
  double left_ = 0;                  // when the last caller did
  unsigned in_vain_ = 0;             // how often nothing came in the moment, as 2^k - 1
  unsigned sleeps_first_ = 0;        // so many times from now without looking
  bool has_begun_ = false;
  bool has_ended_ = false;
  std::thread thread_;
};

}  // namespace dsgd::net
