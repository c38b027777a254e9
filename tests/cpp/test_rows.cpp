#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "dsgd/solver/clipped_gradient.hpp"
#include "dsgd/solver/row_sgd.hpp"
#include "dsgd/solver/rows.hpp"
#include "dsgd/solver/sgd.hpp"
#include "dsgd/solver/svrg.hpp"
#include "problems.hpp"

namespace dsgd {
namespace {

constexpr std::size_t kRows = 80;
constexpr std::size_t kFeatures = 9;

template <typename Check>
void with_objectives(const LinearConfig& config, const Check& check) {
  testing::with_objectives<double>(kRows, kFeatures, config, check);
}

/// Steps on `rows`, all in one call.
template <typename Data>
void sgd_rows(const LinearObjective<Data>& objective, std::span<double> weights, std::span<const std::int64_t> rows,
              std::span<const double> step_sizes, std::size_t index) {
  RowSgd<Data> sgd(objective);
  sgd.steps(weights, rows, step_sizes, index);
  sgd.settle(weights);
}

}  // namespace

TEST_CASE("steps on named rows are those of an epoch that draws them, bit for bit") {
  for (const LossConfig& loss :
       {LossConfig{"hinge", 0}, LossConfig{"logistic", 0}, LossConfig{"huber", 0.1}, LossConfig{"softmax", 0, 2}}) {
    for (const double l1 : {0.0, 1e-3}) {
      for (const double l2 : {0.0, 1e-2, 2.0}) {
        with_objectives({loss, l1, l2, true, 0.3}, [&](const auto& objective) {
          const Epoch epoch{
              .index = 3, .schedule = {.step_size = 0.5, .decay = 0.9, .power = 0.5}, .block_size = 1, .seed = 7};
          std::vector<double> expected(objective.n_parameters(), 0.1);
          std::vector<double> weights = expected;
          std::vector<std::int64_t> rows(kRows);
          sgd_epoch(objective, std::span(expected), epoch, rows);
          std::vector<double> step_sizes;
          for (std::size_t k = 0; k < kRows; ++k) step_sizes.push_back(epoch.schedule.at(epoch.t(kRows, k), 3));
          sgd_rows(objective, std::span(weights), rows, step_sizes, 3);
          CHECK(weights == expected);
        });
      }
    }
  }
}

TEST_CASE("one step size is that of every row, and no rows change nothing") {
  with_objectives({{"logistic", 0}, 0, 1e-2, true}, [&](const auto& objective) {
    std::vector<std::int64_t> rows(kRows);
    std::iota(rows.begin(), rows.end(), 0);
    std::vector<double> one(objective.n_parameters(), 0.1);
    std::vector<double> each = one;
    const std::vector<double> before = one;
    const std::vector<double> step_sizes(kRows, 0.2);
    sgd_rows(objective, std::span(one), {}, std::span(step_sizes).first(1), 0);
    sgd_rows(objective, std::span(one), {}, std::span(step_sizes).first(0), 0);
    CHECK(one == before);
    sgd_rows(objective, std::span(one), rows, std::span(step_sizes).first(1), 0);
    sgd_rows(objective, std::span(each), rows, step_sizes, 0);
    CHECK(one == each);
    CHECK(one != before);
  });
}

TEST_CASE("clipped gradients of single rows have the norm that they are clipped to") {
  for (const LossConfig& loss : {LossConfig{"squared", 0}, LossConfig{"softmax", 0, 2}}) {
    for (const bool fit_intercept : {false, true}) {
      with_objectives({loss, 1e-3, 1e-2, fit_intercept}, [&](const auto& objective) {
        const std::vector<double> weights(objective.n_parameters(), 0.1);
        for (std::int64_t row = 0; row < static_cast<std::int64_t>(kRows); ++row) {
          const std::vector rows{row};
          std::vector<double> whole(weights.size(), 0);
          std::vector<double> clipped(weights.size(), 0);
          rows_gradient(objective, std::span(weights), rows, whole);
          const double norm = std::sqrt(std::inner_product(whole.begin(), whole.end(), whole.begin(), 0.0));
          const std::size_t count = clipped_gradient(objective, std::span(weights), rows, 0.5, clipped);
          CHECK(count == (norm > 0.5 ? 1 : 0));
          for (std::size_t j = 0; j < whole.size(); ++j) {
            CHECK(clipped[j] == doctest::Approx(norm > 0.5 ? whole[j] * 0.5 / norm : whole[j]).epsilon(1e-12));
          }
        }
      });
    }
  }
}

TEST_CASE("kernels on named rows refuse wrong arguments") {
  with_objectives({{"logistic", 0}, 0, 1e-2, true}, [](const auto& objective) {
    std::vector<double> weights(kFeatures + 1, 0);
    const std::vector<std::int64_t> rows{0, 1, 2};
    const std::vector<std::int64_t> outside{static_cast<std::int64_t>(kRows)};
    const std::vector<double> step_sizes{0.1, 0.1};
    const auto one = std::span(step_sizes).first(1);
    CHECK_THROWS_AS(sgd_rows(objective, std::span(weights), rows, step_sizes, 0), Error);
    CHECK_THROWS_AS(sgd_rows(objective, std::span(weights), outside, one, 0), Error);
    CHECK_THROWS_AS(sgd_rows(objective, std::span(weights).first(3), rows, one, 0), Error);
    const std::span<const double> w(weights);
    std::vector<double> gradient(kFeatures + 1, 0);
    CHECK_THROWS_AS(clipped_gradient(objective, w, outside, 1, gradient), Error);
    CHECK_THROWS_AS(clipped_gradient(objective, w, rows, 1, std::span(gradient).first(3)), Error);
    for (const double clip_norm : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
      CHECK_THROWS_AS(clipped_gradient(objective, w, rows, clip_norm, gradient), Error);
    }
    Svrg svrg(objective, {1});
    CHECK_THROWS_AS(svrg.descend_rows(weights, 0.1, rows), Error);  // no mean gradient
    svrg.use_mean(weights);
    svrg.descend_rows(weights, 0.1, rows);
  });
}

}  // namespace dsgd
