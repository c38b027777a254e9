// A context of Asio and the thread that runs it.
#pragma once

#include <asio/awaitable.hpp>   // for awaitable
#include <asio/co_spawn.hpp>    // for co_spawn
#include <asio/io_context.hpp>  // for io_context
#include <condition_variable>   // for condition_variable
#include <exception>            // for exception_ptr, rethrow_exception
#include <functional>           // for function
#include <mutex>                // for mutex
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

class IoThread {
 public:
  /// `failed` is told, in the thread, of an exception that nobody has caught; the thread then ends.
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

 private:
  void run();

  asio::io_context context_{1};
  std::function<void(const std::string&)> failed_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool has_ended_ = false;
  std::thread thread_;
};

}  // namespace dsgd::net
