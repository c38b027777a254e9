#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <set>
#include <vector>

#include "dsgd/core/random.hpp"

using namespace dsgd;

TEST_CASE("the same stream repeats, different streams differ") {
  RandomStream a(1, 2, 3);
  RandomStream b(1, 2, 3);
  CHECK(a.next() == b.next());
  std::set<std::uint64_t> first;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    for (std::uint64_t epoch = 0; epoch < 10; ++epoch) {
      for (std::uint64_t thread = 0; thread < 10; ++thread) first.insert(RandomStream(seed, epoch, thread).next());
    }
  }
  CHECK(first.size() == 1000);
}

TEST_CASE("below is uniform") {
  // Chi-square with 6 degrees of freedom: above 27.9 with probability 1e-4; the seed is fixed.
  RandomStream random(7, 0, 0);
  constexpr int kDraws = 70000;
  std::array<int, 7> counts{};
  for (int i = 0; i < kDraws; ++i) {
    const std::uint64_t value = random.below(7);
    REQUIRE(value < 7);
    ++counts[value];
  }
  double chi = 0;
  for (const int count : counts) chi += (count - kDraws / 7.0) * (count - kDraws / 7.0) / (kDraws / 7.0);
  CHECK(chi < 27.9);
}

TEST_CASE("a shuffle is a permutation, and all of them occur") {
  std::set<std::vector<int>> seen;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    std::vector<int> items(4);
    std::iota(items.begin(), items.end(), 0);
    RandomStream random(seed, 0, 0);
    shuffle(std::span(items), random);
    seen.insert(items);
    std::sort(items.begin(), items.end());
    CHECK(items == std::vector<int>{0, 1, 2, 3});
  }
  CHECK(seen.size() == 24);  // misses one of 24 with probability 24 (23/24)^500 = 1e-8
}
