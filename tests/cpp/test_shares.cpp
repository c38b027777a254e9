#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include "dsgd/solver/shares.hpp"

using namespace dsgd;

namespace {

/// As many rows as asked for, without entries.
struct Rows {
  std::size_t n;
  [[nodiscard]] std::size_t rows() const { return n; }
  [[nodiscard]] std::size_t nonzeros() const { return 0; }
  [[nodiscard]] std::size_t bytes() const { return 0; }
  void prefetch(std::size_t /*row*/) const {}
};

Epoch epoch(std::size_t block_size) { return {.index = 2, .schedule = {}, .block_size = block_size, .seed = 5}; }

std::vector<std::size_t> visited(Shares& shares, std::size_t n, std::size_t thread) {
  std::vector<std::size_t> rows;
  shares.for_each(Rows{n}, thread, [&](std::size_t row, std::size_t /*t*/) { rows.push_back(row); });
  return rows;
}

std::vector<std::size_t> own(std::size_t n, std::size_t block, std::size_t thread, std::size_t n_threads) {
  std::vector<std::size_t> rows;
  epoch(block).sampler(n, thread, n_threads).for_each([&](std::size_t row) { rows.push_back(row); });
  return rows;
}

}  // namespace

TEST_CASE("threads that run at once visit every row once, whoever is faster") {
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{5}, std::size_t{1003}, std::size_t{40000}}) {
    for (const std::size_t block : {std::size_t{1}, std::size_t{3}, std::size_t{256}}) {
      for (const std::size_t n_threads : {std::size_t{2}, std::size_t{5}}) {
        const Epoch now = epoch(block);
        Shares shares(now, n, n_threads);
        std::vector<std::atomic<int>> seen(n);
        {
          std::vector<std::jthread> threads;
          for (std::size_t thread = 0; thread < n_threads; ++thread) {
            threads.emplace_back([&, thread] {
              for (const std::size_t row : visited(shares, n, thread)) ++seen.at(row);
            });
          }
        }
        REQUIRE(std::ranges::all_of(seen, [](const auto& count) { return count == 1; }));
      }
    }
  }
}

TEST_CASE("one thread visits its share in the sampler's order") {
  const Epoch now = epoch(3);
  Shares shares(now, 100, 1);
  CHECK(visited(shares, 100, 0) == own(100, 3, 0, 1));
}

TEST_CASE("a thread that is done goes on with what another has not begun") {
  constexpr std::size_t kRows = 4000;
  const Epoch now = epoch(4);
  Shares shares(now, kRows, 2);
  std::vector<std::size_t> of_the_other;
  std::size_t first = 0;
  shares.for_each(Rows{kRows}, 0, [&](std::size_t /*row*/, std::size_t /*t*/) {
    if (++first == 1) of_the_other = visited(shares, kRows, 1);  // thread 0 stands still meanwhile
  });
  CHECK(of_the_other.size() > kRows / 2);
  CHECK(first + of_the_other.size() == kRows);
}

TEST_CASE("the share of a thread that has not begun stays its own") {
  const Epoch now = epoch(4);
  Shares shares(now, 1000, 2);
  CHECK(visited(shares, 1000, 0) == own(1000, 4, 0, 2));
  CHECK(visited(shares, 1000, 1) == own(1000, 4, 1, 2));
}

TEST_CASE("fixed shares are visited by their owners only") {
  const Epoch now = epoch(4);
  Shares shares(now, 4000, 2, /*fixed=*/true);
  std::vector<std::size_t> second;
  std::size_t first = 0;
  shares.for_each(Rows{4000}, 0, [&](std::size_t /*row*/, std::size_t /*t*/) {
    if (++first == 1) second = visited(shares, 4000, 1);
  });
  CHECK(first == 2000);
  CHECK(second == own(4000, 4, 1, 2));
}

TEST_CASE("samples are numbered as if all threads were equally fast") {
  const Epoch now = epoch(4);
  Shares shares(now, 1000, 2);
  std::vector<std::size_t> numbers;
  shares.for_each(Rows{1000}, 1, [&](std::size_t /*row*/, std::size_t t) { numbers.push_back(t); });
  for (std::size_t k = 0; k < numbers.size(); ++k) REQUIRE(numbers[k] == now.t(1000, 1 + 2 * k));
}
