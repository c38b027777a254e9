// Random schedules of the whole state machines: what consistency and conservation promise holds under every one.
#include <doctest/doctest.h>

#include "network.hpp"

using namespace dsgd::test;

namespace {

constexpr Chances kCalm{};
constexpr Chances kRough{.lose = 80, .repeat = 100, .cut = 10};
constexpr Chances kCrashes{.lose = 30, .repeat = 50, .cut = 5, .crash = 3};
constexpr Chances kRestarts{.lose = 30, .repeat = 50, .cut = 5, .crash = 1, .restart = 2};

constexpr std::uint64_t kSeeds = 100;
constexpr std::optional<std::uint64_t> kStalenesses[] = {0, 1, 3, std::nullopt};

}  // namespace

TEST_CASE("every pull keeps the promises of SSP, and no push is lost or applied twice") {
  for (const auto& [chances, n_shards] : {std::pair(kCalm, std::size_t{1}), std::pair(kRough, std::size_t{1}),
                                          std::pair(kRough, std::size_t{2}), std::pair(kCrashes, std::size_t{1})}) {
    for (const auto staleness : kStalenesses) {
      for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
        CAPTURE(seed);
        Network network({.seed = seed, .n_shards = n_shards, .staleness = staleness, .chances = chances});
        CHECK(network.run() == 0);
      }
    }
  }
}

TEST_CASE("after a server's restart the table holds what the checkpoint held and what was pushed since") {
  std::size_t restarts = 0;
  for (const std::size_t n_shards : {std::size_t{1}, std::size_t{2}}) {
    for (const auto staleness : kStalenesses) {
      for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
        CAPTURE(seed);
        Network network({.seed = seed, .n_shards = n_shards, .staleness = staleness, .chances = kRestarts});
        CHECK(network.run() == 0);
        restarts += network.restarts();
      }
    }
  }
  CHECK(restarts > 200);
}

TEST_CASE("all-reduces add up contributions of one clock, though workers and the server begin anew") {
  for (const auto& chances : {kRough, kCrashes, kRestarts}) {
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
      CAPTURE(seed);
      Network network({.seed = seed, .staleness = 0, .chances = chances, .all_reduce = true});
      CHECK(network.run() == 0);
    }
  }
}

TEST_CASE("a gate that does not hold pulls back is caught") {
  std::size_t caught = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    Network network({.seed = seed, .staleness = 1, .chances = kRough, .broken_gate = true});
    caught += network.run() > 0 ? 1 : 0;
  }
  CHECK(caught > 80);
}
