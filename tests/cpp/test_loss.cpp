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
}

TEST_CASE("derivatives equal fourth-order differences") {
  constexpr double kStep = 1e-3;
  const auto check = [&](auto loss) {
    for (const double y : {-1.0, 1.0}) {
      for (double z = -6; z <= 6; z += 0.37) {  // never within two steps of a kink
        const auto f = [&](double at) { return loss.value(at, y); };
        const double difference =
            (f(z - 2 * kStep) - 8 * f(z - kStep) + 8 * f(z + kStep) - f(z + 2 * kStep)) / (12 * kStep);
        CHECK(loss.derivative(z, y) == doctest::Approx(difference).epsilon(1e-9));
      }
    }
  };
  for (const char* name :
       {"hinge", "squared_hinge", "logistic", "modified_huber", "squared", "huber", "epsilon_insensitive"}) {
    visit_loss({name, 0.7}, check);
  }
}

TEST_CASE_TEMPLATE("extreme margins stay finite", Real, float, double) {
  for (const Real z : {Real{-1e30F}, Real{-800}, Real{800}, Real{1e30F}}) {
    for (const Real y : {Real{-1}, Real{1}}) {
      CHECK(std::isfinite(Hinge::value(z, y)));
      CHECK(std::isfinite(Logistic::value(z, y)));
      CHECK(std::abs(Logistic::derivative(z, y)) <= 1);
      CHECK(std::abs(Hinge::derivative(z, y)) <= 1);
      CHECK(std::isfinite(ModifiedHuber::value(z, y)));
      CHECK(std::abs(ModifiedHuber::derivative(z, y)) <= 8);
      CHECK(std::isfinite(Huber{0.1}.value(z, y)));
      CHECK(std::isfinite(EpsilonInsensitive{0.1}.value(z, y)));
    }
  }
  CHECK(Logistic::value(Real{800}, Real{-1}) == 800);
  CHECK(Logistic::derivative(Real{-800}, Real{1}) == -1);
  CHECK(Logistic::derivative(Real{800}, Real{1}) == 0);
}

TEST_CASE("a loss is found by its name") {
  CHECK(visit_loss({"logistic", 0}, [](auto loss) { return loss.kName; }) == "logistic");
  CHECK_THROWS_AS(visit_loss({"hinges", 0}, [](auto) {}), Error);
}
