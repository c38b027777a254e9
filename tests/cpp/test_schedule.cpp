#include <doctest/doctest.h>

#include <cstddef>
#include <initializer_list>
#include <vector>

#include "dsgd/data/dense.hpp"
#include "dsgd/solver/epoch.hpp"
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

TEST_CASE("passive-aggressive samples take what makes their loss 0 and not more than the step") {
  const std::vector<double> values{3, 4};  // a norm of 5
  const DenseView<double> X(values, 1, 2, 1);
  const StepSizes<double> first({.step_size = 0.5, .share = Share::pa1}, 0);
  CHECK(!first.whole());
  CHECK(first.share(X.row(0), 2.0, 0.5) * 0.5 == doctest::Approx(2.0 / 25));
  CHECK(first.share(X.row(0), 100.0, 0.5) == 1);
  const StepSizes<double> second({.step_size = 0.5, .share = Share::pa2}, 0);
  CHECK(second.share(X.row(0), 2.0, 0.5) * 0.5 == doctest::Approx(2.0 / (25 + 1 / (2 * 0.5))));
  const std::vector<double> zeros{0, 0};
  CHECK(first.share(DenseView<double>(zeros, 1, 2, 1).row(0), 2.0, 0.5) == 0);
}

TEST_CASE("samples are counted over the whole run, and from where an earlier one ended") {
  const Schedule schedule{.step_size = 1};
  CHECK(Epoch{.index = 0, .schedule = schedule, .block_size = 1, .seed = 0}.t(10, 0) == 1);
  CHECK(Epoch{.index = 3, .schedule = schedule, .block_size = 1, .seed = 0}.t(10, 4) == 35);
  CHECK(Epoch{.index = 3, .schedule = schedule, .block_size = 1, .seed = 0, .offset = 7}.t(10, 4) == 42);
}

TEST_CASE("the steps of an epoch are those of the run") {
  for (const Schedule& schedule :
       {Schedule{.step_size = 0.5}, Schedule{.step_size = 0.5, .decay = 0.9},
        Schedule{.step_size = 0.5, .decay = 0.9, .rate = 0.5, .power = 0.25, .horizon = 20000}}) {
    const StepSizes<double> step_sizes(schedule, 3);
    for (const std::size_t t : {std::size_t{1}, std::size_t{10}, std::size_t{12345}}) {
      CHECK(step_sizes(t) == schedule.at(t, 3));
    }
  }
}
