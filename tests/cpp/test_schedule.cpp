#include <doctest/doctest.h>

#include <cstddef>
#include <initializer_list>

#include "dsgd/solver/schedule.hpp"

using namespace dsgd;

TEST_CASE("steps of the three schedules") {
  const Schedule constant{.step_size = 0.5, .decay = 1, .power = 0};
  CHECK(constant.at(1, 0) == 0.5);
  CHECK(constant.at(1000, 9) == 0.5);
  const Schedule decayed{.step_size = 0.5, .decay = 0.9, .power = 0};
  CHECK(decayed.at(7, 0) == 0.5);
  CHECK(decayed.at(7, 3) == doctest::Approx(0.5 * 0.9 * 0.9 * 0.9));
  const Schedule inverse{.step_size = 0.5, .decay = 1, .power = 0.5};
  CHECK(inverse.at(1, 0) == 0.5);
  CHECK(inverse.at(100, 5) == doctest::Approx(0.05));
}

TEST_CASE("the steps of an epoch are those of the run") {
  for (const Schedule& schedule : {Schedule{0.5, 1, 0}, Schedule{0.5, 0.9, 0}, Schedule{0.5, 0.9, 0.25}}) {
    const EpochSteps<double> steps(schedule, 3);
    for (const std::size_t t : {std::size_t{1}, std::size_t{10}, std::size_t{12345}}) {
      CHECK(steps(t) == schedule.at(t, 3));
    }
  }
}
