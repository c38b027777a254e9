// An Asio context and the thread that runs it. A caller that waits for an event of the context can
// run the context itself instead of the thread.
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

/// Starts a coroutine. An exception that leaves the coroutine ends the run of the context.
template <typename Executor>
void spawn(Executor&& executor, asio::awaitable<void> coroutine) {
  asio::co_spawn(executor, std::move(coroutine), [](const std::exception_ptr& thrown) {
    if (thrown) std::rethrow_exception(thrown);
  });
}

/// Only one thread at a time runs the context, and it sees all writes of the threads that ran the
/// context before.
class IoThread {
 public:
  /// `failed` is called with the message of an uncaught exception, after which the context runs no
  /// more.
  explicit IoThread(std::function<void(const std::string&)> failed) : failed_(std::move(failed)) {}
  ~IoThread() { join(0); }
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  [[nodiscard]] asio::io_context& context() noexcept { return context_; }
  [[nodiscard]] bool running() const noexcept { return thread_.joinable(); }
  /// Starts the thread, which runs the context until it has no more work. The thread blocks all
  /// signals, so that the program's own threads receive them.
  void start();
  /// Waits until the context has no more work, for at most `seconds`; then stops it.
  void join(double seconds);

  /// Tells the thread that there is work now. It then does not wait for a caller to return.
  void attend();

  /// While it exists, the caller runs the context instead of the thread. A caller that waits for an
  /// answer then reads the answer itself, and needs no wake-up.
  class Turn {
   public:
    explicit Turn(IoThread& thread);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    /// False if another caller has the turn, or if the thread has ended. The caller must then wait
    /// in another way.
    [[nodiscard]] explicit operator bool() const noexcept { return taken_; }
    /// Runs a handler that is ready, or waits for one, for at most `seconds`. Returns false if
    /// `seconds` is not positive, or if there will be no more handlers.
    [[nodiscard]] bool step(double seconds);

   private:
    IoThread& thread_;
    bool taken_ = false;
    bool stepped_ = false;
  };

 private:
  void run();
  void wait_for_turn(std::unique_lock<std::mutex>& lock);
  /// Runs one handler, and waits for it for at most `seconds`. Returns false if there will be no
  /// more handlers.
  bool step(double seconds);
  /// Runs one handler that is ready now or within kAwakeSeconds. In this time it does not sleep,
  /// unless recent waits have been longer.
  bool poll();

  asio::io_context context_{1};
  std::function<void(const std::string&)> failed_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool runs_ = false;                // the thread runs the context
  std::atomic<bool> caller_{false};  // a caller runs the context, or is about to
  bool sleeps_ = false;              // the thread wants to be woken when the caller leaves
  bool wanted_ = false;              // `attend` was called
  double left_ = 0;                  // the time at which the last turn of a caller ended
  unsigned in_vain_ = 0;             // 2^k - 1 after k waits without an event in kAwakeSeconds
  unsigned sleeps_first_ = 0;        // number of next waits that begin asleep
  bool has_begun_ = false;
  bool has_ended_ = false;
  std::thread thread_;
};

}  // namespace dsgd::net
