#include "io_thread.hpp"

#include <chrono>   // for duration
#include <csignal>  // for pthread_sigmask, sigfillset

namespace dsgd::net {

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
  try {
    context_.run();
  } catch (const std::exception& error) {
    failed_(error.what());
  }
  const std::lock_guard lock(mutex_);
  has_ended_ = true;
  ended_.notify_all();
}

void IoThread::join(double seconds) {
  if (!thread_.joinable()) return;
  {
    std::unique_lock lock(mutex_);
    if (!ended_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return has_ended_; })) context_.stop();
  }
  thread_.join();
}

}  // namespace dsgd::net
