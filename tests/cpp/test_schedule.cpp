#include <doctest/doctest.h>

#include <cstddef>
#include <initializer_list>

#include "dsgd/solver/schedule.hpp"

using namespace dsgd;

TEST_CASE("the factors of a step") {
  const Schedule constant{.step_size = 0.5};
  CHECK(constant.at(1, 0) == 0.5);
  CHECK(constant.at(1000, 9) == 0.5);
  const Schedule decayed{.step_size = 0.5, .decay = 0.9};
  CHECK(decayed.at(7, 0) == 0.5);
  CHECK(decayed.at(7, 3) == doctest::Approx(0.5 * 0.9 * 0.9 * 0.9));
  const Schedule inverse{.step_size = 0.5, .power = 0.5};
  CHECK(inverse.at(1, 0) == 0.5);
  CHECK(inverse.at(100, 5) == doctest::Approx(0.05));
  const Schedule slow{.step_size = 0.5, .rate = 0.1, .power = 1};
  CHECK(slow.at(1, 0) == 0.5);
  CHECK(slow.at(11, 0) == doctest::Approx(0.25));
  const Schedule line{.step_size = 0.5, .horizon = 100};
  CHECK(line.at(1, 0) == 0.5);
  CHECK(line.at(51, 3) == doctest::Approx(0.25));
  CHECK(line.at(100, 9) == doctest::Approx(0.005));
}

TEST_CASE("a line does not fall below zero, where the threads of an uneven split may look") {
  const Schedule line{.step_size = 0.5, .horizon = 100};
  CHECK(line.at(101, 9) == 0);
  CHECK(line.at(150, 9) == 0);
}

TEST_CASE("the steps of an epoch are those of the run") {
  for (const Schedule& schedule :
       {Schedule{.step_size = 0.5}, Schedule{.step_size = 0.5, .decay = 0.9},
        Schedule{.step_size = 0.5, .decay = 0.9, .rate = 0.5, .power = 0.25, .horizon = 20000}}) {
    const EpochSteps<double> steps(schedule, 3);
    for (const std::size_t t : {std::size_t{1}, std::size_t{10}, std::size_t{12345}}) {
      CHECK(steps(t) == schedule.at(t, 3));
    }
  }
}
