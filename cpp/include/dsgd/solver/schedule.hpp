// Step sizes over a run.
#pragma once

#include <algorithm>  // for max, min
#include <cmath>      // for isinf, pow
#include <cstddef>    // for size_t
#include <limits>     // for numeric_limits
#include <span>       // for span

namespace dsgd {

/// The share of its step that a sample takes: the whole step, or the share of the
/// passive-aggressive rules PA-I and PA-II (Crammer, Dekel, Keshet, Shalev-Shwartz, Singer 2006,
/// "Online passive-aggressive algorithms", figure 1).
enum class Share { whole, pa1, pa2 };

/// The step of sample t (counted from 1 over the whole run) in an epoch (counted from 0):
///
///   step_size * decay^epoch * (1 + rate (t - 1))^-power * max(0, 1 - (t - 1) / horizon)
///
/// By default all factors but step_size are 1. decay < 1 is the back-off of Hogwild! (section 5 of
/// the paper); power > 0 is inverse scaling, t^-power with rate 1; with a finite horizon the step
/// size falls linearly and is 0 after `horizon` samples.
struct Schedule {
  double step_size;
  double decay = 1;
  double rate = 1;
  double power = 0;
  double horizon = std::numeric_limits<double>::infinity();
  Share share = Share::whole;

  [[nodiscard]] double at(std::size_t t, std::size_t epoch) const {
    const double before = static_cast<double>(t) - 1;
    const double left = std::isinf(horizon) ? 1 : std::max(0.0, 1 - before / horizon);
    return step_size * std::pow(decay, static_cast<double>(epoch)) * fallen(1 + rate * before) * left;
  }

  /// Writes the steps of samples t, t + 1, ... of an epoch, one an element.
  void each(std::size_t t, std::size_t epoch, std::span<double> steps) const {
    for (double& step : steps) step = at(t++, epoch);
  }

 private:
  /// x^-power. std::pow costs as much as a dozen non-zeros of a row, so the usual powers have
  /// branches of their own.
  [[nodiscard]] double fallen(double x) const {
    if (power == 0) return 1;
    return power == 1 ? 1 / x : std::pow(x, -power);
  }
};

/// The step sizes of one epoch. A sample loop calls it with t; factors that are constant in an
/// epoch are computed once.
template <typename Real>
class StepSizes {
 public:
  StepSizes(const Schedule& schedule, std::size_t epoch)
      : schedule_(schedule), constant_(schedule.power == 0 && std::isinf(schedule.horizon)) {
    schedule_.step_size *= std::pow(schedule_.decay, static_cast<double>(epoch));
    schedule_.decay = 1;
  }

  [[nodiscard]] Real operator()(std::size_t t) const {
    return static_cast<Real>(constant_ ? schedule_.step_size : schedule_.at(t, 0));
  }

  [[nodiscard]] bool whole() const { return schedule_.share == Share::whole; }

  /// The share of `step` that a sample takes under PA-I or PA-II. The slope of its loss must be 1
  /// wherever the loss is not 0. PA-I makes the loss of the sample 0, or takes the whole step if
  /// that is shorter. PA-II always stops before the loss is 0.
  template <typename Row>
  [[nodiscard]] Real share(const Row& x, Real loss, Real step) const {
    Real norm = 0;
    for (std::size_t k = 0; k < x.size(); ++k) norm += x.value(k) * x.value(k);
    if (schedule_.share == Share::pa2) return loss / (step * norm + Real{0.5});
    return norm == 0 ? Real{0} : std::min(Real{1}, loss / (step * norm));
  }

 private:
  Schedule schedule_;
  bool constant_;
};

}  // namespace dsgd
