#include "io_thread.hpp"

#include <algorithm>  // for min
#include <asio/post.hpp>
#include <chrono>   // for duration, duration_cast, steady_clock
#include <csignal>  // for pthread_sigmask, sigfillset

#include "connection.hpp"

namespace dsgd::net {
namespace {

/// Seconds for which the thread leaves the context free after a caller's turn. A caller that
/// returns in this time need not take the context over from the thread, which would cost two
/// wake-ups.
constexpr double kReturnSeconds = 1e-3;
/// Seconds of a wait that only an event should end.
constexpr double kLongSeconds = 3600;
/// Seconds for which `poll` looks for an event without sleeping. A wake-up on another core of a
/// virtual machine takes about as long.
constexpr double kAwakeSeconds = 5e-5;
/// Most waits in a row that `poll` begins asleep, after waits without an event in kAwakeSeconds.
constexpr unsigned kMostInVain = 63;

std::chrono::duration<double> seconds_of(double value) { return std::chrono::duration<double>(value); }

}  // namespace

void IoThread::start() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void IoThread::run() {
  {
    const std::scoped_lock lock(mutex_);
    runs_ = true;
    has_begun_ = true;
  }
  while (step(kLongSeconds)) {
    if (!caller_) continue;
    std::unique_lock lock(mutex_);
    runs_ = false;
    changed_.notify_all();
    wait_for_turn(lock);
    runs_ = true;
  }
  const std::scoped_lock lock(mutex_);
  has_ended_ = true;
  runs_ = false;
  changed_.notify_all();
}

/// Waits until no caller has run the context for kReturnSeconds.
void IoThread::wait_for_turn(std::unique_lock<std::mutex>& lock) {
  while (true) {
    if (caller_) {
      sleeps_ = true;
      changed_.wait(lock, [this] { return !caller_; });
      sleeps_ = false;
    }
    const double rest = left_ + kReturnSeconds - steady_now();
    if (rest <= 0 || wanted_ || context_.stopped()) break;
    changed_.wait_for(lock, seconds_of(rest));
  }
  wanted_ = false;
}

bool IoThread::step(double seconds) {
  try {
    const auto within = std::chrono::duration_cast<std::chrono::steady_clock::duration>(seconds_of(seconds));
    return poll() || context_.run_one_for(within) > 0 || !context_.stopped();
  } catch (const std::exception& error) {
    context_.stop();
    failed_(error.what());
    return false;
  }
}

bool IoThread::poll() {
  if (context_.poll_one() > 0) return true;
  if (sleeps_first_ > 0) {
    --sleeps_first_;
    return false;
  }
  for (const double end = steady_now() + kAwakeSeconds; steady_now() < end && !context_.stopped();) {
    std::this_thread::yield();
    if (context_.poll_one() == 0) continue;
    in_vain_ = 0;
    return true;
  }
  in_vain_ = std::min(2 * in_vain_ + 1, kMostInVain);
  sleeps_first_ = in_vain_;
  return false;
}

void IoThread::join(double seconds) {
  if (!thread_.joinable()) return;
  {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, seconds_of(seconds), [this] { return has_ended_; })) context_.stop();
  }
  thread_.join();
}

void IoThread::attend() {
  const std::scoped_lock lock(mutex_);
  if (caller_ || runs_) return;
  wanted_ = true;
  changed_.notify_all();
}

IoThread::Turn::Turn(IoThread& thread) : thread_(thread) {
  std::unique_lock lock(thread_.mutex_);
  if (!thread_.has_begun_ || thread_.has_ended_ || thread_.caller_) return;
  thread_.caller_ = true;
  taken_ = true;
  if (!thread_.runs_) return;
  asio::post(thread_.context_, [] {});  // ends the thread's wait
  thread_.changed_.wait(lock, [this] { return !thread_.runs_; });
}

bool IoThread::Turn::step(double seconds) {
  if (seconds <= 0) return false;
  stepped_ = true;
  return thread_.step(seconds);
}

IoThread::Turn::~Turn() {
  if (!taken_) return;
  const std::scoped_lock lock(thread_.mutex_);
  thread_.caller_ = false;
  if (stepped_) thread_.left_ = steady_now();
  if (thread_.sleeps_) thread_.changed_.notify_all();
}

}  // namespace dsgd::net
