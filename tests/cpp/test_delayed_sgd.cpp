#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "dsgd/solver/delayed_sgd.hpp"
#include "dsgd/solver/row_sgd.hpp"
#include "problems.hpp"

namespace dsgd {
namespace {

constexpr std::size_t kRows = 80;
constexpr std::size_t kFeatures = 9;

/// For every element type.
template <typename Check>
void with_objectives(const LinearConfig& config, const Check& check) {
#ifndef DSGD_FEW_KINDS
  testing::with_objectives<float>(kRows, kFeatures, config, check);
#endif
  testing::with_objectives<double>(kRows, kFeatures, config, check);
}

template <typename Data>
DelayedSgd<Data> solver_of(const LinearObjective<Data>& objective, std::size_t delay, bool strict = false,
                           std::size_t most_retries = 3) {
  const DelayedSgdConfig config{.delay = delay, .most_retries = most_retries, .strict = strict, .curvature = 2};
  return DelayedSgd<Data>(objective, config);
}

/// Rows in an order that repeats none of its neighbours.
std::vector<std::int64_t> rows_in_turn(std::size_t count) {
  std::vector<std::int64_t> rows;
  for (std::size_t k = 0; k < count; ++k) rows.push_back(static_cast<std::int64_t>(k * 37 % kRows));
  return rows;
}

const std::vector<double> kStep{0.2};

}  // namespace

TEST_CASE("without a delay the steps are those of plain SGD, bit for bit, and all are accepted") {
  for (const double alpha : {0.0, 1e-2, 2.0}) {
    with_objectives({{"hinge", 0}, 0, alpha, true, 0.3}, [](const auto& objective) {
      using Data = std::remove_cvref_t<decltype(objective.X())>;
      using Real = typename Data::Real;
      const auto rows = rows_in_turn(3 * kRows);
      std::vector<Real> expected(objective.n_parameters(), Real{0.125});
      std::vector<Real> weights = expected;
      std::vector<std::uint8_t> fates(rows.size(), 9);
      RowSgd<Data> plain(objective);
      plain.steps(expected, rows, kStep, 0);
      plain.settle(expected);
      auto sgd = solver_of(objective, 0);
      sgd.steps(weights, rows, kStep, fates);
      sgd.settle(weights);
      CHECK(weights == expected);
      CHECK(std::ranges::all_of(fates, [](std::uint8_t fate) { return fate == 0; }));
    });
  }
}

TEST_CASE("delayed steps in pieces are those of one call, and rejections in turn end in a fresh step") {
  for (const LossConfig& loss : {LossConfig{"hinge", 0}, LossConfig{"logistic", 0}, LossConfig{"huber", 0.1}}) {
    for (const double alpha : {0.0, 1e-2}) {
      for (const bool strict : {false, true}) {
        with_objectives({loss, 0, alpha, true}, [&](const auto& objective) {
          using Real = typename std::remove_cvref_t<decltype(objective)>::Real;
          const auto rows = rows_in_turn(2 * kRows);
          std::vector<Real> whole(objective.n_parameters(), Real{0.125});
          std::vector<Real> parts = whole;
          std::vector<std::uint8_t> fates(rows.size(), 9);
          std::vector<std::uint8_t> fates_of_parts(rows.size(), 9);
          auto one = solver_of(objective, 3, strict);
          one.steps(whole, rows, kStep, fates);
          one.settle(whole);
          auto several = solver_of(objective, 3, strict);
          for (std::size_t begin = 0; begin < rows.size(); begin += 7) {
            const std::size_t count = std::min<std::size_t>(7, rows.size() - begin);
            several.steps(parts, std::span(rows).subspan(begin, count), kStep,
                          std::span(fates_of_parts).subspan(begin, count));
          }
          several.settle(parts);
          CHECK(fates == fates_of_parts);
          for (std::size_t j = 0; j < whole.size(); ++j) {
            CHECK(std::isfinite(whole[j]));
            CHECK(parts[j] == doctest::Approx(whole[j]).epsilon(1e-5));
          }
          std::size_t in_turn = 0;
          for (const std::uint8_t fate : fates) {
            CHECK((fate == static_cast<std::uint8_t>(Fate::fresh)) == (in_turn == 3));
            in_turn = fate <= static_cast<std::uint8_t>(Fate::fresh) ? 0 : in_turn + 1;
          }
          CHECK(std::ranges::count(fates, std::uint8_t{0}) > 1);
          CHECK(std::ranges::any_of(fates, [](std::uint8_t fate) { return fate > 0; }));
        });
      }
    }
  }
}

TEST_CASE("delayed steps refuse several classes, L1 and wrong sizes") {
  with_objectives({{"softmax", 0, 2}, 0, 0, true},
                  [](const auto& objective) { CHECK_THROWS_AS(solver_of(objective, 1), Error); });
  with_objectives({{"hinge", 0}, 1e-3, 0, true},
                  [](const auto& objective) { CHECK_THROWS_AS(solver_of(objective, 1), Error); });
  with_objectives({{"hinge", 0}, 0, 1e-3, true}, [](const auto& objective) {
    using Real = typename std::remove_cvref_t<decltype(objective)>::Real;
    auto sgd = solver_of(objective, 1);
    std::vector<Real> weights(kFeatures + 1, Real{0});
    const auto rows = rows_in_turn(3);
    const std::vector<std::int64_t> outside{static_cast<std::int64_t>(kRows)};
    const std::vector<double> two{0.1, 0.1};
    std::vector<std::uint8_t> fates(3, 9);
    CHECK_THROWS_AS(sgd.steps(weights, rows, two, fates), Error);
    CHECK_THROWS_AS(sgd.steps(weights, rows, kStep, std::span(fates).first(2)), Error);
    CHECK_THROWS_AS(sgd.steps(weights, outside, kStep, std::span(fates).first(1)), Error);
    CHECK_THROWS_AS(sgd.steps(std::span(weights).first(3), rows, kStep, fates), Error);
    CHECK_THROWS_AS(sgd.settle(std::span(weights).first(3)), Error);
    sgd.steps(weights, {}, kStep, {});
  });
}

}  // namespace dsgd
