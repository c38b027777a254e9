#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "dsgd/objective/loss_sum.hpp"

using namespace dsgd;

namespace {

double logistic_sum(std::size_t n, double unit, double s) {
  LossSum<Logistic> sum(Logistic{}, 1);
  for (std::size_t i = 0; i < n; ++i) {
    const double z = unit * std::sin(static_cast<double>(i));
    sum.add(s, std::span<const double>(&z, 1), i % 3 == 0 ? -1.0 : 1.0);
  }
  return sum.value();
}

double expected(std::size_t n, double unit, double s) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    sum += s * Logistic::value(unit * std::sin(static_cast<double>(i)), i % 3 == 0 ? -1.0 : 1.0);
  }
  return sum;
}

}  // namespace

TEST_CASE("the product of factors has the logarithms of all of them") {
  for (const std::size_t n :
       {std::size_t{1}, std::size_t{511}, std::size_t{512}, std::size_t{513}, std::size_t{5000}}) {
    for (const double unit : {0.0, 1e-9, 1.0, 30.0, 800.0}) {
      for (const double s : {1.0, 0.5}) {
        CAPTURE(n);
        CAPTURE(unit);
        CHECK(std::abs(logistic_sum(n, unit, s) - expected(n, unit, s)) <= 1e-13 * expected(n, unit, s));
      }
    }
  }
}

TEST_CASE("infinite and undefined decision values are not hidden") {
  for (const double z : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    LossSum<Logistic> sum(Logistic{}, 1);
    sum.add(1, std::span<const double>(&z, 1), -1.0);
    CHECK_FALSE(std::isfinite(sum.value()));
  }
}
