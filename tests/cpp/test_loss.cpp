#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "dsgd/core/error.hpp"
#include "dsgd/objective/loss.hpp"

using namespace dsgd;

TEST_CASE("values and derivatives at known points") {
  CHECK(Hinge::value(0.25, 1.0) == 0.75);
  CHECK(Hinge::value(2.0, 1.0) == 0);
  CHECK(Hinge::value(2.0, -1.0) == 3);
  CHECK(Hinge::derivative(0.25, 1.0) == -1);
  CHECK(Hinge::derivative(0.25, -1.0) == 1);
  CHECK(Hinge::derivative(1.0, 1.0) == 0);  // the kink
  CHECK(Logistic::value(0.0, 1.0) == doctest::Approx(std::log(2.0)));
  CHECK(Logistic::derivative(0.0, -1.0) == 0.5);
  CHECK(Squared::value(3.0, 1.0) == 2);
  CHECK(Squared::derivative(3.0, 1.0) == 2);
  CHECK(SquaredHinge::value(0.5, -1.0) == 2.25);
  CHECK(SquaredHinge::derivative(0.5, -1.0) == 3);
  CHECK(SquaredHinge::derivative(2.0, 1.0) == 0);
  CHECK(ModifiedHuber::value(0.5, -1.0) == 2.25);
  CHECK(ModifiedHuber::value(3.0, -1.0) == 12);
  CHECK(ModifiedHuber::derivative(3.0, -1.0) == 4);
  CHECK(ModifiedHuber::value(1.0, -1.0) == 4);  // both pieces meet at y z = -1
  CHECK(ModifiedHuber::derivative(1.0, -1.0) == 4);
  const Huber huber{0.5};
  CHECK(huber.value(1.25, 1.0) == 0.03125);
  CHECK(huber.value(3.0, 1.0) == 0.875);
  CHECK(huber.derivative(1.25, 1.0) == 0.25);
  CHECK(huber.derivative(-3.0, 1.0) == -0.5);
  const EpsilonInsensitive tube{0.5};
  CHECK(tube.value(1.25, 1.0) == 0);
  CHECK(tube.value(-1.0, 1.0) == 1.5);
  CHECK(tube.derivative(1.5, 1.0) == 0);  // the kink
  CHECK(tube.derivative(-1.0, 1.0) == -1);
  CHECK(Perceptron::value(0.25, -1.0) == 0.25);
  CHECK(Perceptron::value(0.25, 1.0) == 0);
  CHECK(Perceptron::derivative(0.25, -1.0) == 1);
  CHECK(Perceptron::derivative(0.0, 1.0) == -1);  // the kink
  const SquaredEpsilonInsensitive bowl{0.5};
  CHECK(bowl.value(1.25, 1.0) == 0);
  CHECK(bowl.value(-1.0, 1.0) == 2.25);
  CHECK(bowl.derivative(-1.0, 1.0) == -3);
  CHECK(bowl.derivative(2.0, 1.0) == 1);
}

namespace {

constexpr const char* kNames[] = {
    "hinge",    "squared_hinge",       "perceptron",
    "logistic", "modified_huber",      "squared",
    "huber",    "epsilon_insensitive", "squared_epsilon_insensitive",
};

bool is_classification(std::string_view name) {
  return name == "hinge" || name == "squared_hinge" || name == "perceptron" || name == "logistic" ||
         name == "modified_huber";
}

/// Calls `f` with a loss of one decision value.
template <typename F>
void visit_scalar(const LossConfig& config, F&& f) {
  visit_loss(config, [&](auto loss) {
    if constexpr (!VectorLoss<decltype(loss)>) f(loss);
  });
}

/// The derivative of f by central differences, whose error is h^4 / 30 times the fifth derivative.
template <typename F>
double fourth_order(F&& f, double z, double h) {
  return (f(z - 2 * h) - 8 * f(z - h) + 8 * f(z + h) - f(z + 2 * h)) / (12 * h);
}

}  // namespace

TEST_CASE("the differences are of fourth order") {
  const auto f = [](double z) { return Logistic::value(z, 1.0); };
  const auto error = [&](double h) { return std::abs(fourth_order(f, 0.5, h) - Logistic::derivative(0.5, 1.0)); };
  CHECK(error(0.2) / error(0.1) == doctest::Approx(16).epsilon(0.05));
}

// With h = 1e-3 truncation is below 1e-13 (the fifth derivative of the logistic loss is below 1, those of the others
// are 0), and values up to 50 are rounded to 4e-15 each, which makes 1.5 * 4e-15 / 1e-3 = 6e-12 of the difference.
TEST_CASE("derivatives equal fourth-order differences") {
  constexpr double kStep = 1e-3;
  const auto check = [&](auto loss) {
    for (const double y : {-1.0, 1.0}) {
      for (double point = -6; point <= 6; point += 0.37) {  // never within two steps of a kink
        const auto single = static_cast<float>(point);
        const auto z = static_cast<double>(single);
        const double difference = fourth_order([&](double at) { return loss.value(at, y); }, z, kStep);
        CHECK(loss.derivative(z, y) == doctest::Approx(difference).epsilon(2e-11));
        CHECK(static_cast<double>(loss.derivative(single, static_cast<float>(y))) ==
              doctest::Approx(difference).epsilon(1e-6));
        CHECK(static_cast<double>(loss.value(single, static_cast<float>(y))) ==
              doctest::Approx(loss.value(z, y)).epsilon(1e-6));
      }
    }
  };
  for (const char* name : kNames) visit_scalar({name, 0.7}, check);
}

TEST_CASE("at a kink the derivative lies between the slopes on both sides") {
  constexpr double kStep = 0x1p-20;  // exact, so that the slopes are exact too but for the squares
  struct Kink {
    const char* name;
    double z, y, jump;  // of the slope
  };
  for (const Kink& kink :
       {Kink{"hinge", 1, 1, 1}, Kink{"hinge", -1, -1, 1}, Kink{"squared_hinge", 1, 1, 0},
        Kink{"squared_hinge", -1, -1, 0}, Kink{"modified_huber", 1, 1, 0}, Kink{"modified_huber", -1, 1, 0},
        Kink{"modified_huber", 1, -1, 0}, Kink{"modified_huber", -1, -1, 0}, Kink{"huber", 1.5, 1, 0},
        Kink{"huber", 0.5, 1, 0}, Kink{"epsilon_insensitive", 1.5, 1, 1}, Kink{"epsilon_insensitive", 0.5, 1, 1},
        Kink{"squared_epsilon_insensitive", 1.5, 1, 0}, Kink{"squared_epsilon_insensitive", 0.5, 1, 0},
        Kink{"perceptron", 0, 1, 1}, Kink{"perceptron", 0, -1, 1}}) {
    CAPTURE(kink.name);
    CAPTURE(kink.z);
    visit_scalar({kink.name, 0.5}, [&](auto loss) {
      const double here = loss.value(kink.z, kink.y);
      const double left = (here - loss.value(kink.z - kStep, kink.y)) / kStep;
      const double right = (loss.value(kink.z + kStep, kink.y) - here) / kStep;
      CHECK(left <= loss.derivative(kink.z, kink.y));
      CHECK(loss.derivative(kink.z, kink.y) <= right);
      CHECK(std::abs(right - left - kink.jump) <= 4 * kStep);  // the curvature is at most 2
      CHECK(loss.derivative(kink.z - kStep, kink.y) == doctest::Approx(left).epsilon(4 * kStep));
      CHECK(loss.derivative(kink.z + kStep, kink.y) == doctest::Approx(right).epsilon(4 * kStep));
    });
  }
}

TEST_CASE_TEMPLATE("at extreme margins nothing is lost but what no number can hold", Real, float, double) {
  constexpr Real kMax = std::numeric_limits<Real>::max();
  constexpr Real kTiny = std::numeric_limits<Real>::denorm_min();
  const Real root = std::sqrt(kMax) / 4;  // its square is still a number
  const Real ascending[] = {-kMax, -root, -Real{1e8F}, -1000, -kTiny, 0, kTiny, 1000, Real{1e8F}, root, kMax};
  for (const char* name : kNames) {
    CAPTURE(name);
    visit_scalar({name, 0.1}, [&](auto loss) {
      for (const Real y : {Real{-1e8F}, Real{-1}, Real{1}, Real{1e8F}}) {
        if (is_classification(name) && std::abs(y) != 1) continue;
        Real last = -std::numeric_limits<Real>::infinity();
        for (const Real z : ascending) {
          CAPTURE(z);
          const Real value = loss.value(z, y);
          const Real slope = loss.derivative(z, y);
          CHECK(value >= 0);  // which NaN is not
          CHECK(slope >= last);
          last = slope;
          const bool linear = name == Hinge::kName || name == Perceptron::kName || name == Logistic::kName;
          if (std::abs(z) <= root || linear) CHECK(std::isfinite(value));
          if (std::abs(z) <= root || linear) CHECK(std::isfinite(slope));
          if (is_classification(name) && y * z >= 1000) CHECK(value == 0);
        }
      }
    });
  }
  CHECK(ModifiedHuber::derivative(kMax, Real{-1}) == 4);
  CHECK(Huber{0.5}.value(kMax, Real{1}) == kMax / 2);
  CHECK(EpsilonInsensitive{0.5}.value(-kMax, Real{1}) == kMax);
}

TEST_CASE_TEMPLATE("the logistic loss keeps its relative accuracy in both tails", Real, float, double) {
  constexpr Real kUnit = 4 * std::numeric_limits<Real>::epsilon();
  const Real end = -std::log(std::numeric_limits<Real>::min());  // exp(-end) is the smallest normal number
  for (Real margin = -end; margin < end; margin += Real{0.37F}) {
    CAPTURE(margin);
    const auto m = static_cast<long double>(margin);
    const long double value = m > 0 ? std::log1p(std::exp(-m)) : std::log1p(std::exp(m)) - m;
    CHECK(std::abs(static_cast<long double>(Logistic::value(margin, Real{1})) - value) <= kUnit * value);
    const long double slope = -1 / (1 + std::exp(m));
    CHECK(std::abs(static_cast<long double>(Logistic::derivative(margin, Real{1})) - slope) <= -kUnit * slope);
    CHECK(Logistic::derivative(-margin, Real{-1}) == -Logistic::derivative(margin, Real{1}));
  }
  for (const Real margin : {2 * end, std::numeric_limits<Real>::max()}) {
    CHECK(Logistic::value(margin, Real{1}) == 0);
    CHECK(Logistic::value(-margin, Real{1}) == margin);
    CHECK(Logistic::derivative(margin, Real{1}) == 0);
    CHECK(Logistic::derivative(-margin, Real{1}) == -1);
  }
}

TEST_CASE("a loss is found by its name") {
  visit_scalar({"logistic", 0}, [](auto loss) { CHECK(loss.kName == "logistic"); });
  CHECK_THROWS_AS(visit_loss({"hinges", 0}, [](auto) {}), Error);
}

TEST_CASE("the gradient of softmax equals fourth-order differences, and its loss is that of the decision values") {
  const auto value = [](std::vector<double> z) { return Softmax::descend(std::span(z), 2.0); };
  const std::vector<double> at{0.3, -1.2, 0.8, 2.1};
  std::vector<double> gradient = at;
  const double loss = Softmax::descend(std::span(gradient), 2.0);
  CHECK(loss ==
        doctest::Approx(std::log(std::exp(0.3) + std::exp(-1.2) + std::exp(0.8) + std::exp(2.1)) - 0.8).epsilon(1e-14));
  for (std::size_t c = 0; c < at.size(); ++c) {
    const auto along = [&](double z) {
      std::vector<double> moved = at;
      moved[c] = z;
      return value(moved);
    };
    CHECK(gradient[c] == doctest::Approx(fourth_order(along, at[c], 1e-3)).epsilon(2e-11));
  }
}

TEST_CASE("one class against all others is the sum of the binary losses, whose gradient is theirs") {
  const std::vector<double> at{0.3, -1.2, 0.8, 2.1};
  for (const char* name : {"hinge", "squared_hinge", "perceptron", "logistic", "modified_huber"}) {
    const LossConfig config{name, 0, at.size()};
    const AnyScalar binary(scalar_loss(config));
    visit_loss(config, [&]<typename Loss>(const Loss& loss) {
      if constexpr (VectorLoss<Loss>) {
        std::vector<double> z = at;
        double sum = 0;
        const double value = loss.descend(std::span(z), 2.0, true);
        for (std::size_t c = 0; c < at.size(); ++c) {
          const double sign = c == 2 ? 1 : -1;
          sum += binary.value(at[c], sign);
          CHECK(z[c] == binary.derivative(at[c], sign));
        }
        CHECK(value == sum);
      } else {
        FAIL("not a loss of several decision values");
      }
    });
  }
}

TEST_CASE_TEMPLATE("softmax of extreme decision values is finite", Real, float, double) {
  constexpr Real kFar = std::numeric_limits<Real>::max() / 4;
  for (const Real y : {Real{0}, Real{1}}) {
    std::vector<Real> z{kFar, -kFar, kFar};
    const Real loss = Softmax::descend(std::span(z), y);
    CHECK(std::isfinite(loss));
    CHECK(loss == doctest::Approx(y == 0 ? std::log(Real{2}) : 2 * kFar));
    CHECK(z[0] == (y == 0 ? Real{-0.5F} : Real{0.5F}));
    CHECK(z[1] == -y);
    CHECK(z[2] == Real{0.5F});
  }
}
