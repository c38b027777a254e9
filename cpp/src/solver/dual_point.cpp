#include "dsgd/solver/dual_point.hpp"

#include <algorithm>  // for copy, max
#include <cmath>      // for abs
#include <utility>    // for pair

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/check_size.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/objective/dual.hpp"
#include "dsgd/objective/linear_weights.hpp"
#include "dsgd/objective/row_sum.hpp"
#include "dsgd/solver/dual_intercept.hpp"

namespace dsgd {
namespace {

constexpr std::size_t kBlockRows = 4096;

}  // namespace

template <typename Data>
DualPoint<Data>::DualPoint(const LinearObjective<Data>& objective, std::size_t n_threads)
    : objective_(objective),
      n_threads_(n_threads),
      beta_(objective.X().rows()),
      sum_(objective.X().features()),
      other_(objective.X().rows()),
      other_sum_(objective.X().features()) {
  if (!(objective.config().alpha_l1 + objective.config().alpha_l2 > 0)) {
    throw Error(ErrorCode::config, "a dual point proves nothing without a penalty");
  }
  visit_dual(objective.config().loss, [](const auto& /*loss*/) {});
}

/// (1/n) sum_i s_i f(i, y_i), which does not depend on the number of threads.
template <typename Data>
template <typename F>
double DualPoint<Data>::mean(const F& f) const {
  const std::size_t n = beta_.size();
  std::vector<double> partial((n + kBlockRows - 1) / kBlockRows);
  parallel_blocks(n, kBlockRows, n_threads_, [&](std::size_t block, std::size_t begin, std::size_t end) {
    double sum = 0;
    for (std::size_t i = begin; i < end; ++i) {
      sum += static_cast<double>(objective_.sample_weight(i)) * f(i, static_cast<double>(objective_.y()[i]));
    }
    partial[block] = sum;
  });
  double total = 0;
  for (const double sum : partial) total += sum;
  return total / static_cast<double>(n);
}

/// Returns the number d for which the mean of -s_i loss'(z_i + d, y_i) is 0, or is nearest to 0
/// where the loss has kinks, by the Illinois variant of the rule of false position. The mean falls
/// with d. If no d is found, as for samples of one class, returns the last one.
template <typename Data>
template <typename Loss>
double DualPoint<Data>::balancing_shift(const Loss& loss) const {
  constexpr int kDoublings = 60;
  constexpr int kRefinements = 20;
  constexpr double kBalanced = 1e-10;
  const auto at = [&](double d) {
    return mean([&](std::size_t i, double y) { return -loss.derivative(other_[i] + d, y); });
  };
  const double unit = mean([&](std::size_t i, double y) { return std::abs(loss.derivative(other_[i], y)); });
  const double importance = mean([](std::size_t /*i*/, double /*y*/) { return 1.0; });
  std::pair<double, double> low{0, at(0)};
  if (!(std::abs(low.second) > kBalanced * unit)) return 0;
  std::pair<double, double> high = low;
  double step = low.second / importance;
  for (int k = 0; k < kDoublings && (high.second > 0) == (low.second > 0); ++k, step *= 2) {
    if (k > 0) low = high;
    high = {high.first + step, at(high.first + step)};
  }
  double weight = low.second;  // halved while its end stays, so that both ends move
  for (int k = 0; k < kRefinements && std::abs(high.second) > kBalanced * unit; ++k) {
    const double next = high.first - high.second * (high.first - low.first) / (high.second - weight);
    const double rest = at(next);
    if ((rest > 0) == (high.second > 0)) {
      weight /= 2;
    } else {
      low = high;
      weight = low.second;
    }
    high = {next, rest};
  }
  return std::abs(low.second) < std::abs(high.second) ? low.first : high.first;
}

template <typename Data>
double DualPoint<Data>::look(std::span<const Real> weights) {
  objective_.check_weights(weights);
  const Data& X = objective_.X();
  const std::vector<double> wide(weights.begin(), weights.end());
  Exclusive policy;
  const LinearWeights<const double, Exclusive> w(wide, objective_.config().fit_intercept, policy);
  parallel_blocks(X.rows(), kBlockRows, n_threads_, [&](std::size_t /*block*/, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) other_[i] = w.decision(X.row(i));
  });
  double loss_value = 0;
  visit_dual(objective_.config().loss, [&](const auto& loss) {
    loss_value = mean([&](std::size_t i, double y) { return loss.value(other_[i], y); });
    const double shift = objective_.config().fit_intercept ? balancing_shift(loss) : 0.0;
    for (std::size_t i = 0; i < other_.size(); ++i) {
      other_[i] = -loss.derivative(other_[i] + shift, static_cast<double>(objective_.y()[i]));
    }
  });
  // Near the optimum these dual variables are far better than all before.
  approach((value_ + loss_value + penalty_of(std::span(wide).first(X.features()), objective_.config())) / 2);
  return loss_value;
}

template <typename Data>
void DualPoint<Data>::look_at(std::span<const Real> duals) {
  check_size("duals", duals.size(), other_.size());
  std::ranges::copy(duals, other_.begin());
  approach(value_);
}

/// Moves the point to the best point that it finds on the line to the other one. With L1 the other
/// one is scaled down until R* is finite without L2; with L2 the better of both counts.
template <typename Data>
void DualPoint<Data>::approach(double enough) {
  const LinearConfig& config = objective_.config();
  DualIntercept(config).balance(objective_, std::span(other_));
  row_sum(
      objective_.X(), n_threads_, 1 / static_cast<double>(beta_.size()), std::span(other_sum_),
      [&](std::size_t i, const auto& /*x*/) { return static_cast<double>(objective_.sample_weight(i)) * other_[i]; });
  double largest = 0;
  for (const double u : other_sum_) largest = std::max(largest, std::abs(u));
  if (config.alpha_l2 > 0) move(1, enough);
  if (config.alpha_l1 > 0 && (config.alpha_l2 == 0 || largest > config.alpha_l1)) {
    move(largest > config.alpha_l1 ? config.alpha_l1 / largest : 1.0, enough);
  }
}

/// D at the part t of the way to the other point, which is multiplied by `scale`.
template <typename Data>
double DualPoint<Data>::value_at(double t, double scale) const {
  const LinearConfig& config = objective_.config();
  double value = 0;
  visit_dual(config.loss, [&](const auto& loss) {
    value = mean(
        [&](std::size_t i, double y) { return dual_value(loss, beta_[i] + t * (scale * other_[i] - beta_[i]), y); });
  });
  if (config.alpha_l2 == 0) return value;
  double conjugate = 0;
  for (std::size_t j = 0; j < sum_.size(); ++j) {
    const double u = sum_[j] + t * (scale * other_sum_[j] - sum_[j]);
    const double beyond = std::max(std::abs(u) - config.alpha_l1, 0.0);
    conjugate += beyond * beyond;
  }
  return value - conjugate / (2 * config.alpha_l2);
}

/// Moves to the best of four points of the line: its ends, its middle, and the vertex of the
/// parabola through these. D is that parabola if loss and penalty have quadratic conjugates. If D is
/// more than `enough` at the other end, the line is not searched: a point costs as much as the margins
/// of the rows.
template <typename Data>
void DualPoint<Data>::move(double scale, double enough) {
  const double end = value_at(1, scale);
  const bool searches = !(end > std::max(enough, value_));
  const double middle = searches ? value_at(0.5, scale) : end;
  double best = 0;
  double value = value_;
  const auto take = [&](double t, double found) {
    if (!(found > value)) return;
    best = t;
    value = found;
  };
  if (searches) take(0.5, middle);
  take(1, end);
  const double slope = 4 * middle - 3 * value_ - end;
  const double bend = 2 * (value_ - 2 * middle + end);
  const double vertex = -slope / (2 * bend);
  if (searches && bend < 0 && vertex > 0 && vertex < 1) take(vertex, value_at(vertex, scale));
  if (best == 0) return;
  for (std::size_t i = 0; i < beta_.size(); ++i) beta_[i] += best * (scale * other_[i] - beta_[i]);
  for (std::size_t j = 0; j < sum_.size(); ++j) sum_[j] += best * (scale * other_sum_[j] - sum_[j]);
  value_ = value;
}

#define DSGD_INSTANTIATE(Data) template class DualPoint<Data>;
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
