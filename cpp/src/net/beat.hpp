// The timer by which a server or a worker checks its deadlines. It also detects that the process
// was stopped for a while.
#pragma once

#include <asio/awaitable.hpp>       // for awaitable
#include <asio/io_context.hpp>      // for io_context
#include <asio/redirect_error.hpp>  // for redirect_error
#include <asio/steady_timer.hpp>    // for steady_timer
#include <asio/use_awaitable.hpp>   // for use_awaitable
#include <chrono>                   // for duration, duration_cast

#include "connection.hpp"

namespace dsgd::net {

class Beat {
 public:
  Beat(asio::io_context& context, double seconds) : timer_(context), seconds_(seconds) {}

  /// Waits for the next beat, or for `cancel`. Returns by how many seconds the beat was late if
  /// this is more than the interval of the beat, otherwise 0. A late beat means that the process or
  /// the machine was stopped: peers could not be heard during this time, and their silence does not
  /// count.
  [[nodiscard]] asio::awaitable<double> next() {
    const double due = steady_now() + seconds_;
    timer_.expires_after(
        std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds_)));
    asio::error_code cancelled;
    co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
    const double late = steady_now() - due;
    co_return late > seconds_ ? late : 0;
  }
  void cancel() { timer_.cancel(); }

 private:
  asio::steady_timer timer_;
  double seconds_;
};

}  // namespace dsgd::net
