#include <doctest/doctest.h>

#include <cmath>
#include <limits>

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
}

TEST_CASE_TEMPLATE("derivatives equal fourth-order differences", Loss, Hinge, Logistic, Squared) {
  constexpr double kStep = 1e-3;
  for (const double y : {-1.0, 1.0}) {
    for (double z = -6; z <= 6; z += 0.37) {  // never within two steps of the kink of the hinge
      const auto f = [&](double at) { return Loss::value(at, y); };
      const double difference =
          (f(z - 2 * kStep) - 8 * f(z - kStep) + 8 * f(z + kStep) - f(z + 2 * kStep)) / (12 * kStep);
      CHECK(Loss::derivative(z, y) == doctest::Approx(difference).epsilon(1e-9));
    }
  }
}

TEST_CASE_TEMPLATE("extreme margins stay finite", Real, float, double) {
  for (const Real z : {Real{-1e30F}, Real{-800}, Real{800}, Real{1e30F}}) {
    for (const Real y : {Real{-1}, Real{1}}) {
      CHECK(std::isfinite(Hinge::value(z, y)));
      CHECK(std::isfinite(Logistic::value(z, y)));
      CHECK(std::abs(Logistic::derivative(z, y)) <= 1);
      CHECK(std::abs(Hinge::derivative(z, y)) <= 1);
    }
  }
  CHECK(Logistic::value(Real{800}, Real{-1}) == 800);
  CHECK(Logistic::derivative(Real{-800}, Real{1}) == -1);
  CHECK(Logistic::derivative(Real{800}, Real{1}) == 0);
}

TEST_CASE("a loss is found by its name") {
  CHECK(visit_loss("logistic", [](auto loss) { return loss.kName; }) == "logistic");
  CHECK_THROWS_AS(visit_loss("hinges", [](auto) {}), Error);
}
