// Step sizes over a run.
#pragma once

#include <cmath>    // for pow
#include <cstddef>  // for size_t

namespace dsgd {

/// The step of sample t (counted from 1 over the whole run) in an epoch (counted from 0):
///
///   step_size * decay^epoch / t^power
///
/// decay = 1 and power = 0 give a constant step; decay < 1 is the back-off of Hogwild! (section 5 of the paper); power
/// > 0 is inverse scaling.
struct Schedule {
  double step_size;
  double decay;
  double power;

  [[nodiscard]] double at(std::size_t t, std::size_t epoch) const {
    const double step = step_size * std::pow(decay, static_cast<double>(epoch));
    return power == 0 ? step : step * std::pow(static_cast<double>(t), -power);
  }
};

/// A schedule within one epoch, as a sample loop asks for it.
template <typename Real>
class EpochSteps {
 public:
  EpochSteps(const Schedule& schedule, std::size_t epoch)
      : power_(schedule.power), base_(Schedule{schedule.step_size, schedule.decay, 0}.at(1, epoch)) {}

  [[nodiscard]] Real operator()(std::size_t t) const {
    return static_cast<Real>(power_ == 0 ? base_ : base_ * std::pow(static_cast<double>(t), -power_));
  }

 private:
  double power_;
  double base_;
};

}  // namespace dsgd
