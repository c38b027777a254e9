#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "dsgd/core/parallel.hpp"

using namespace dsgd;

TEST_CASE("every thread's body runs exactly once") {
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
    std::vector<std::atomic<int>> ran(n);
    parallel_region(n, [&](std::size_t thread) { ++ran[thread]; });
    for (const auto& count : ran) CHECK(count == 1);
  }
}

TEST_CASE("a nested region runs every body, though OpenMP grants it one thread only") {
  std::atomic<int> ran{0};
  parallel_region(2, [&](std::size_t) { parallel_region(3, [&](std::size_t) { ++ran; }); });
  CHECK(ran == 6);
}

TEST_CASE("an exception of any thread comes out") {
  for (std::size_t thrower = 0; thrower < 3; ++thrower) {
    CHECK_THROWS_AS(parallel_region(3,
                                    [&](std::size_t thread) {
                                      if (thread == thrower) throw std::out_of_range("from a thread");
                                    }),
                    std::out_of_range);
  }
}

TEST_CASE("blocks cover every item once") {
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{10}, std::size_t{103}}) {
    std::vector<std::atomic<int>> seen(n);
    parallel_blocks(n, 10, 3, [&](std::size_t block, std::size_t begin, std::size_t end) {
      CHECK(begin == block * 10);
      for (std::size_t i = begin; i < end; ++i) ++seen[i];
    });
    for (const auto& count : seen) CHECK(count == 1);
  }
}

// The runtimes of the sanitizers do not support it: a lock of the address sanitizer's allocator, held by another thread
// at the fork, stays locked in the child for ever, and the thread sanitizer refuses threads there.
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
TEST_CASE("a forked child, where libgomp would hang, runs on std::thread") {
  std::atomic<int> ran{0};
  parallel_region(2, [&](std::size_t) { ++ran; });
  REQUIRE(ran == 2);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(30);  // a hang ends the child by SIGALRM
    std::atomic<int> in_child{0};
    parallel_region(2, [&](std::size_t) { ++in_child; });
    _exit(in_child == 2 && backend() == Backend::std_threads ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
#endif
