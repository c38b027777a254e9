#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "dsgd/core/random.hpp"
#include "dsgd/objective/dual.hpp"

using namespace dsgd;

namespace {

/// Calls `f(loss, low, high, targets)` for every loss with a dual: bounds of its dual variable where the target is 1
/// (of y beta, for a classification), infinite where there is none; and targets to try.
template <typename F>
void for_each_dual(F&& f) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  const std::vector<double> labels{-1, 1};
  const std::vector<double> numbers{-1, 0, 0.3, 1};
  f(Hinge{}, 0.0, 1.0, labels);
  f(SquaredHinge{}, 0.0, kNone, labels);
  f(ModifiedHuber{}, 0.0, 4.0, labels);
  f(Logistic{}, 0.0, 1.0, labels);
  f(Squared{}, -kNone, kNone, numbers);
  f(Huber{0.25}, -0.25, 0.25, numbers);
  f(EpsilonInsensitive{0.25}, -1.0, 1.0, numbers);
  f(SquaredEpsilonInsensitive{0.25}, -kNone, kNone, numbers);
}

/// Random numbers of every size.
class Numbers {
 public:
  double uniform(double low, double high) {
    return low + (high - low) * (static_cast<double>(random_.next() >> 11U) * 0x1p-53);
  }
  double decision() { return std::pow(10.0, uniform(-3, 2)) * (uniform(-1, 1) < 0 ? -1 : 1); }
  double curvature() { return std::pow(10.0, uniform(-3, 4)); }
  /// A feasible dual variable; at a bound now and then.
  double dual(double low, double high, double y) {
    low = std::max(low, -8.0);
    high = std::min(high, 8.0);
    const double free = uniform(low, high);
    const double any = uniform(0, 1);
    const double b = any < 0.1 ? low : any < 0.2 ? high : any < 0.3 ? std::clamp(0.0, low, high) : free;
    return low == 0 ? y * b : b;  // a classification
  }

 private:
  RandomStream random_{5, 0, 0};
};

/// Whether b solves b = -loss'(z + q (b - beta), y), at a kink with a value between the derivatives of both sides, but
/// for so many roundings of what it is made of and, of the logistic loss in single precision, what the last
/// move leaves.
template <typename Real, typename Loss>
bool solves(const Loss& loss, Real b, Real z, Real beta, Real q, Real y) {
  constexpr double kSeries = std::is_same_v<Loss, Logistic> && std::is_same_v<Real, float>
                                 ? static_cast<double>(kShortMove<Real> * kShortMove<Real> * kShortMove<Real>) / 48
                                 : 0;
  constexpr double kRoundings = 16 * static_cast<double>(std::numeric_limits<Real>::epsilon());
  const auto wide = [](Real value) { return static_cast<double>(value); };
  const double at = wide(z) + wide(q) * (wide(b) - wide(beta));
  const double size = 1 + std::abs(wide(z)) + std::abs(wide(y)) + wide(q) * (std::abs(wide(b)) + std::abs(wide(beta)));
  const double away = kRoundings * size + wide(q) * kSeries;
  const double left = -loss.derivative(at - away, wide(y));
  const double right = -loss.derivative(at + away, wide(y));
  const double slack = kRoundings * (1 + std::abs(wide(b)) + std::abs(wide(beta))) + kSeries;
  return wide(b) <= left + slack && wide(b) >= right - slack;
}

template <typename Real>
void check_steps() {
  Numbers numbers;
  for_each_dual([&](auto loss, double low, double high, const std::vector<double>& targets) {
    for (int k = 0; k < 20000; ++k) {
      const double target = targets[static_cast<std::size_t>(k) % targets.size()];
      const auto y = static_cast<Real>(target);
      const auto z = static_cast<Real>(k % 7 == 0 ? target : numbers.decision());  // now and then at a kink
      const auto beta = static_cast<Real>(numbers.dual(low, high, target));
      const Real q = k % 5 == 0 ? std::numeric_limits<Real>::min() : static_cast<Real>(numbers.curvature());
      const Real b = dual_step(loss, z, beta, q, y);
      CAPTURE(loss.kName);
      CAPTURE(z);
      CAPTURE(beta);
      CAPTURE(q);
      CAPTURE(y);
      CAPTURE(b);
      REQUIRE(solves(loss, b, z, beta, q, y));
    }
  });
}

}  // namespace

TEST_CASE_TEMPLATE("a step solves its equation, also for the curvature of an empty row", Real, float, double) {
  check_steps<Real>();
}

TEST_CASE("steps at extreme decisions stay feasible") {
  for_each_dual([](auto loss, double low, double high, const std::vector<double>& targets) {
    for (const double y : targets) {
      for (const double z : {-1e30, -800.0, -90.0, 0.0, 90.0, 800.0, 1e30}) {
        for (const float q : {std::numeric_limits<float>::min(), 1e-3F, 1.0F, 1e30F}) {
          const auto b = static_cast<double>(dual_step(loss, static_cast<float>(z), 0.0F, q, static_cast<float>(y)));
          CAPTURE(loss.kName);
          CAPTURE(z);
          CAPTURE(q);
          CHECK(std::isfinite(b));
          CHECK((low == 0 ? y * b : b) >= low);
          CHECK((low == 0 ? y * b : b) <= high);
        }
      }
    }
  });
}

// On a grid of 1e-3 that holds the kinks, a parabola of curvature 2 is at most 0.5e-3^2 above its least value.
TEST_CASE("the value of a dual variable is the least of loss + beta z") {
  Numbers numbers;
  for_each_dual([&](auto loss, double low, double high, const std::vector<double>& targets) {
    for (int k = 0; k < 40; ++k) {
      const double y = targets[static_cast<std::size_t>(k) % targets.size()];
      const double beta = numbers.dual(low, high, y);
      double least = std::numeric_limits<double>::infinity();
      for (int step = -20000; step <= 20000; ++step) {
        const double z = step / 1000.0;
        least = std::min(least, loss.value(z, y) + beta * z);
      }
      CAPTURE(loss.kName);
      CAPTURE(beta);
      CAPTURE(y);
      CHECK(dual_value(loss, beta, y) <= least + 1e-12);
      CHECK(dual_value(loss, beta, y) >= least - 1e-6);
    }
  });
}

TEST_CASE("the gap of a sample is 0 for the dual variable of its decision value, and never negative") {
  Numbers numbers;
  for_each_dual([&](auto loss, double low, double high, const std::vector<double>& targets) {
    for (int k = 0; k < 200; ++k) {
      const double y = targets[static_cast<std::size_t>(k) % targets.size()];
      const double z = numbers.decision();
      const double rounding = 1e-14 * (1 + z * z);
      CAPTURE(loss.kName);
      CAPTURE(z);
      CAPTURE(y);
      CHECK(std::abs(sample_gap(loss, z, -loss.derivative(z, y), y)) <= rounding);
      CHECK(sample_gap(loss, z, numbers.dual(low, high, y), y) >= -rounding);
    }
  });
}

TEST_CASE("no other step along the same dual variable raises the dual more, and none lowers it") {
  Numbers numbers;
  for_each_dual([&](auto loss, double low, double high, const std::vector<double>& targets) {
    for (int k = 0; k < 2000; ++k) {
      const double y = targets[static_cast<std::size_t>(k) % targets.size()];
      const double z = numbers.decision();
      const double beta = numbers.dual(low, high, y);
      const double q = numbers.curvature();
      // n D(b) / s, but for what does not depend on b
      const auto dual = [&](double b) {
        return dual_value(loss, b, y) - z * (b - beta) - q / 2 * (b - beta) * (b - beta);
      };
      const double b = dual_step(loss, z, beta, q, y);
      const double rounding = 1e-14 * (1 + std::abs(z) + q) * (1 + b * b + beta * beta);
      CAPTURE(loss.kName);
      REQUIRE(dual(b) >= dual(beta) - rounding);
      for (int other = 0; other < 10; ++other) REQUIRE(dual(b) >= dual(numbers.dual(low, high, y)) - rounding);
    }
  });
}
