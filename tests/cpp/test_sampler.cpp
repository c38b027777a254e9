#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "dsgd/solver/epoch.hpp"

using namespace dsgd;

namespace {

std::vector<std::size_t> rows(const Epoch& epoch, std::size_t n, std::size_t thread, std::size_t n_threads) {
  std::vector<std::size_t> visited;
  epoch.sampler(n, thread, n_threads).for_each([&](std::size_t row) { visited.push_back(row); });
  return visited;
}

Epoch epoch(std::size_t index, std::size_t block_size, std::uint64_t seed = 0) {
  return {.index = index, .schedule = {}, .block_size = block_size, .seed = seed};
}

}  // namespace

TEST_CASE("the shares of all threads visit every row once") {
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{5}, std::size_t{1003}}) {
    for (const std::size_t block : {std::size_t{1}, std::size_t{3}, std::size_t{256}, ~std::size_t{0}}) {
      for (const std::size_t threads : {std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
        std::vector<int> seen(n, 0);
        for (std::size_t t = 0; t < threads; ++t) {
          for (const std::size_t row : rows(epoch(0, block), n, t, threads)) ++seen.at(row);
        }
        for (const int count : seen) REQUIRE(count == 1);
      }
    }
  }
}

TEST_CASE("the order depends on the seed and the epoch, and on nothing else") {
  CHECK(rows(epoch(3, 1, 5), 100, 0, 1) == rows(epoch(3, 1, 5), 100, 0, 1));
  CHECK(rows(epoch(3, 1, 5), 100, 0, 1) != rows(epoch(4, 1, 5), 100, 0, 1));
  CHECK(rows(epoch(3, 1, 5), 100, 0, 1) != rows(epoch(3, 1, 6), 100, 0, 1));
}

TEST_CASE("every thread shuffles its own share, from a stream of its own") {
  std::vector<std::vector<std::size_t>>
      ranks;  // the share as positions in it: equal if two threads drew the same order
  for (std::size_t thread = 0; thread < 3; ++thread) {
    ranks.push_back(rows(epoch(0, 1), 90, thread, 3));
    CHECK_FALSE(std::is_sorted(ranks.back().begin(), ranks.back().end()));
    for (std::size_t& row : ranks.back()) row /= 3;
  }
  CHECK(ranks[0] != ranks[1]);
  CHECK(ranks[1] != ranks[2]);
}

TEST_CASE("blocks are visited in memory order inside and shuffled among themselves") {
  const auto order = rows(epoch(0, 10), 100, 0, 1);
  bool shuffled = false;
  for (std::size_t k = 0; k < order.size(); ++k) {
    if (k % 10 != 0) CHECK(order[k] == order[k - 1] + 1);
    if (k % 10 == 0) shuffled = shuffled || order[k] != k;
  }
  CHECK(shuffled);
}

TEST_CASE("data larger than a cache is asked for ahead, in the order in which it is visited") {
  struct Large {
    std::size_t size;
    std::vector<std::size_t>& asked;
    [[nodiscard]] std::size_t bytes() const { return size; }
    [[nodiscard]] static std::size_t rows() { return 103; }
    [[nodiscard]] static std::size_t nonzeros() { return std::size_t{103} * 100; }
    void prefetch(std::size_t row) const { asked.push_back(row); }
  };
  for (const std::size_t block_size : {std::size_t{1}, std::size_t{10}, std::size_t{1000}}) {
    const Sampler sampler(103, block_size, 0, 2, RandomStream(1, 2, 0));
    std::vector<std::size_t> asked;
    std::vector<std::size_t> visited;
    sampler.for_each(Large{std::size_t{1} << 30U, asked}, [&](std::size_t row) {
      visited.push_back(row);
      CHECK(asked.size() > visited.size() - 1);
    });
    CHECK(asked == visited);
    asked.clear();
    sampler.for_each(Large{1000, asked}, [](std::size_t) {});
    CHECK(asked.empty());
  }
}

TEST_CASE("a stream of rows is one pass after the other, each in another order") {
  for (const std::size_t block : {std::size_t{1}, std::size_t{7}, ~std::size_t{0}}) {
    Draws draws(100, block, 1, block > 100 ? 2 : 3, RandomStream(0, 0, 1));
    if (block > 100) {
      CHECK(draws.size() == 0);
      continue;
    }
    std::vector<std::vector<std::size_t>> passes(3);
    for (auto& pass : passes) {
      const auto add = [&](std::size_t row) { pass.push_back(row); };
      draws.take(5, add);
      draws.take(draws.size() - 5, add);
    }
    CHECK(passes[0] != passes[1]);
    CHECK(passes[1] != passes[2]);
    for (auto& pass : passes) {
      std::sort(pass.begin(), pass.end());
      CHECK(std::adjacent_find(pass.begin(), pass.end()) == pass.end());
      CHECK(pass == passes[0]);
      for (const std::size_t row : pass) CHECK(row / block % 3 == 1);
    }
  }
}
