// Step sizes over a run.
#pragma once

#include <algorithm>  // for max
#include <cmath>      // for isinf, pow
#include <cstddef>    // for size_t
#include <limits>     // for numeric_limits

namespace dsgd {

/// The step of sample t (counted from 1 over the whole run) in an epoch (counted from 0):
///
///   step_size * decay^epoch * (1 + rate (t - 1))^-power * max(0, 1 - (t - 1) / horizon)
///
/// As they stand the factors are 1. decay < 1 is the back-off of Hogwild! (section 5 of the paper); power > 0 is
/// inverse scaling, t^-power with rate 1; a finite horizon makes the step fall along a straight line and reach 0 there.
struct Schedule {
  double step_size;
  double decay = 1;
  double rate = 1;
  double power = 0;
  double horizon = std::numeric_limits<double>::infinity();

  [[nodiscard]] double at(std::size_t t, std::size_t epoch) const {
    const double before = static_cast<double>(t) - 1;
    const double left = std::isinf(horizon) ? 1 : std::max(0.0, 1 - before / horizon);
    const double fallen = power == 0 ? 1 : std::pow(1 + rate * before, -power);
    return step_size * std::pow(decay, static_cast<double>(epoch)) * fallen * left;
  }
};

/// A schedule within one epoch, as a sample loop asks for it: what stays the same is evaluated once.
template <typename Real>
class EpochSteps {
 public:
  EpochSteps(const Schedule& schedule, std::size_t epoch)
      : schedule_(schedule), constant_(schedule.power == 0 && std::isinf(schedule.horizon)) {
    schedule_.step_size *= std::pow(schedule_.decay, static_cast<double>(epoch));
    schedule_.decay = 1;
  }

  [[nodiscard]] Real operator()(std::size_t t) const {
    return static_cast<Real>(constant_ ? schedule_.step_size : schedule_.at(t, 0));
  }

 private:
  Schedule schedule_;
  bool constant_;
};

}  // namespace dsgd
