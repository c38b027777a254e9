#include "dsgd/core/parallel.hpp"

#include <unistd.h>  // for getpid

#include <exception>  // for exception_ptr
#include <mutex>      // for call_once, once_flag
#include <thread>     // for jthread
#include <vector>     // for vector

#ifdef DSGD_OPENMP
#include <omp.h>
#endif

namespace dsgd {
namespace {

/// The process that loaded the core. A child forked from it inherits libgomp's bookkeeping but not
/// its threads, and would wait for these threads for ever (GCC bug 58378).
const pid_t loading_process = getpid();

/// Keeps the first exception that leaves the body of any thread.
class FirstException {
 public:
  template <typename F>
  void guard(F&& f) noexcept {
    try {
      f();
    } catch (...) {
      std::call_once(once_, [&] { exception_ = std::current_exception(); });
    }
  }
  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::once_flag once_;
  std::exception_ptr exception_;
};

}  // namespace

Backend backend() noexcept {
#ifdef DSGD_OPENMP
  if (getpid() == loading_process) return Backend::openmp;
#endif
  return Backend::std_threads;
}

namespace detail {

void run_team(std::size_t n_threads, void (*body)(void*, std::size_t), void* context, [[maybe_unused]] Start start) {
  if (n_threads == 0) return;
  if (n_threads == 1) {
    body(context, 0);
    return;
  }
  FirstException first;
  const auto run = [&](std::size_t thread) { first.guard([&] { body(context, thread); }); };
#ifdef DSGD_OPENMP
  if (start == Start::as_granted && backend() == Backend::openmp) {
#pragma omp parallel num_threads(static_cast<int>(n_threads))
    {
      const auto granted = static_cast<std::size_t>(omp_get_num_threads());
      for (auto t = static_cast<std::size_t>(omp_get_thread_num()); t < n_threads; t += granted) run(t);
    }
    first.rethrow();
    return;
  }
#endif
  {
    std::vector<std::jthread> others;
    others.reserve(n_threads - 1);
    for (std::size_t t = 1; t < n_threads; ++t) others.emplace_back(run, t);
    run(0);
  }  // joined here
  first.rethrow();
}

}  // namespace detail
}  // namespace dsgd
