// The one place where threads are started.
#pragma once

#include <algorithm>    // for min
#include <atomic>       // for atomic
#include <cstddef>      // for size_t
#include <memory>       // for addressof
#include <type_traits>  // for remove_reference_t

namespace dsgd {

/// The library that runs a team of threads.
enum class Backend {
  openmp,       // libgomp's pool
  std_threads,  // new std::threads: in a forked child, where libgomp hangs; under the thread
                // sanitizer, for which libgomp is not instrumented; in builds without OpenMP
};

/// The backend that the next parallel region of this process will use.
[[nodiscard]] Backend backend() noexcept;

namespace detail {
enum class Start { as_granted, all_at_once };
void run_team(std::size_t n_threads, void (*body)(void*, std::size_t), void* context, Start start);

template <typename Body>
void run_team(std::size_t n_threads, Body&& body, Start start) {
  using Callable = std::remove_reference_t<Body>;
  run_team(
      n_threads, [](void* context, std::size_t thread) { (*static_cast<Callable*>(context))(thread); },
      const_cast<void*>(static_cast<const void*>(std::addressof(body))), start);  // NOLINT
}
}  // namespace detail

/// Runs `body(thread)` once for every thread in [0, n_threads) and returns when all have returned.
/// Bodies must not wait for one another: OpenMP may grant fewer than `n_threads` threads, and a
/// thread then runs several bodies one after the other. Rethrows the first exception of a body.
template <typename Body>
void parallel_region(std::size_t n_threads, Body&& body) {
  detail::run_team(n_threads, body, detail::Start::as_granted);
}

/// Like parallel_region, for bodies that may wait for one another: all bodies run at the same time,
/// each on a thread of its own.
template <typename Body>
void concurrent_region(std::size_t n_threads, Body&& body) {
  detail::run_team(n_threads, body, detail::Start::all_at_once);
}

/// Splits [0, n) into consecutive blocks of `block_size` items and runs `body(block, begin, end)`
/// for each. A thread that is free takes the next block. The blocks do not depend on the number of
/// threads, so reductions over blocks are reproducible.
template <typename Body>
void parallel_blocks(std::size_t n, std::size_t block_size, std::size_t n_threads, Body&& body) {
  const std::size_t n_blocks = (n + block_size - 1) / block_size;
  std::atomic<std::size_t> next{0};
  parallel_region(std::min(n_threads, n_blocks), [&](std::size_t /*thread*/) {
    for (std::size_t block = next.fetch_add(1); block < n_blocks; block = next.fetch_add(1)) {
      body(block, block * block_size, std::min(n, (block + 1) * block_size));
    }
  });
}

}  // namespace dsgd
