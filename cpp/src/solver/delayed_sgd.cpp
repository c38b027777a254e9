#include "dsgd/solver/delayed_sgd.hpp"

#include <algorithm>  // for max, min, ranges::all_of
#include <cmath>      // for abs, copysign, sqrt
#include <limits>     // for numeric_limits

#include "dsgd/core/check_size.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/solver/rows.hpp"
#include "dsgd/solver/scaled_weights.hpp"

namespace dsgd {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// Bound of the error of a product of weights, relative to their square: far above that of a few steps back.
template <typename Real>
constexpr double kRounding = 1000.0 * std::numeric_limits<Real>::epsilon();

/// The loss of a problem whose samples have fixed points on their lines.
ScalarLoss tested_loss(const LinearConfig& problem) {
  if (problem.loss.of_classes()) {
    throw Error(ErrorCode::config, "delayed steps are tested for one decision value, not for those of several classes");
  }
  if (problem.alpha_l1 != 0) throw Error(ErrorCode::config, "delayed steps are tested for penalty 'l2' or none only");
  return scalar_loss(problem.loss);
}

/// The root of alpha p + g(p), where g is -pull before `flat`, 0 in it and +pull behind it, and reach = pull / alpha.
double root_at_kinks(Flat<double> flat, double reach) {
  if (flat.begin > 0) return std::min(reach, flat.begin);
  return flat.end < 0 ? std::max(-reach, flat.end) : 0.0;
}

}  // namespace

template <typename Data>
DelayedSgd<Data>::DelayedSgd(const LinearObjective<Data>& objective, DelayedSgdConfig config)
    : objective_(objective),
      config_(config),
      loss_(tested_loss(objective.config())),
      spread_(objective.X().features()) {}

template <typename Data>
void DelayedSgd<Data>::steps(std::span<Real> weights, std::span<const std::int64_t> rows,
                             std::span<const double> step_sizes, std::span<std::uint8_t> fates) {
  const auto& X = objective_.X();
  const LinearConfig& problem = objective_.config();
  objective_.check_weights(weights);
  check_rows(rows, X.rows());
  check_size("fates", fates.size(), rows.size());
  const bool constant = step_sizes.size() == 1;
  if (!constant) check_size("step", step_sizes.size(), rows.size());

  square_.reset();  // anew for every call: the sum of its changes is rounded
  std::size_t done = 0;
  ScaledWeights<Real, false> w(weights, problem.fit_intercept, problem.alpha_l2, {}, done, &inverse_scale_);
  const auto rate = static_cast<Real>(problem.intercept_rate);
  for (const std::int64_t number : rows) {
    const auto i = static_cast<std::size_t>(number);
    const auto x = X.row(i);
    const auto step = static_cast<Real>(step_sizes[constant ? 0 : done]);
    const double shrink = 1 + static_cast<double>(step) * problem.alpha_l2;
    const double intercept = problem.fit_intercept ? static_cast<double>(weights.back()) : 0.0;
    inverse_scale_ = w.inverse();
    const bool fresh = made_.empty() || rejections_ >= config_.most_retries;
    const Real decision = w.decision(x);
    const Line line = fresh ? Line{} : line_of(i, weights, decision, intercept);
    const Real seen = fresh ? decision : static_cast<Real>(line.oldest_decision);
    const Real gradient = loss_.derivative(seen, objective_.y()[i]) * objective_.sample_weight(i);
    const auto change = static_cast<double>(step * gradient);

    const Fate fate = fresh ? (rejections_ > 0 ? Fate::fresh : Fate::accepted) : judge(i, line, change, shrink);
    fates[done] = static_cast<std::uint8_t>(fate);
    const bool made = fate == Fate::accepted || fate == Fate::fresh;
    rejections_ = made ? 0 : rejections_ + 1;
    if (made) {
      if (fresh) {
        square_.reset();
      } else if (square_) {
        const double along = line.length * line.projections.front();
        *square_ = (*square_ + change * (change * line.length * line.length - 2 * along)) / (shrink * shrink);
      }
      w.descend(x, gradient, step, rate);
      if (config_.delay > 0) made_.push_front({i, change, shrink});
      if (made_.size() > config_.delay) made_.pop_back();
    }
    ++done;
  }
}

template <typename Data>
void DelayedSgd<Data>::settle(std::span<Real> weights) {
  objective_.check_weights(weights);
  if (inverse_scale_ != 1) fold_scale(weights, objective_.config().fit_intercept, inverse_scale_);
  made_.clear();
  rejections_ = 0;
}

template <typename Data>
auto DelayedSgd<Data>::line_of(std::size_t i, std::span<const Real> weights, Real decision, double intercept) -> Line {
  const auto x = objective_.X().row(i);
  double square = 0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    spread_[x.index(k)] = x.value(k);
    square += static_cast<double>(x.value(k)) * static_cast<double>(x.value(k));
  }
  Line line{.length = std::sqrt(square), .intercept = intercept, .projections = {}, .oldest_decision = 0, .across = 0};
  const double inverse_length = square > 0 ? 1 / line.length : 0;
  double product = static_cast<double>(decision) - intercept;
  if (config_.strict && !square_) square_ = square_of(weights);
  double overlap = square_.value_or(0);  // w_t.w_j
  line.projections.push_back(product * inverse_length);
  for (const Step& step : made_) {  // w_{j-1} = shrink w_j + change x
    const auto other = objective_.X().row(step.row);
    double shared = 0;
    for (std::size_t k = 0; k < other.size(); ++k) {
      shared += static_cast<double>(spread_[other.index(k)]) * static_cast<double>(other.value(k));
    }
    product = product * step.shrink + step.change * shared;
    intercept += objective_.has_intercept() ? objective_.config().intercept_rate * step.change : 0;
    if (config_.strict) overlap = overlap * step.shrink + step.change * product_with(weights, step.row);
    line.projections.push_back(product * inverse_length);
  }
  for (std::size_t k = 0; k < x.size(); ++k) spread_[x.index(k)] = 0;
  line.oldest_decision = product + intercept;
  line.across = overlap - line.projections.front() * line.projections.back();
  return line;
}

template <typename Data>
auto DelayedSgd<Data>::range_of(std::size_t i, const Line& line) const -> Range {
  const double alpha = objective_.config().alpha_l2;
  const auto y = static_cast<double>(objective_.y()[i]);
  const double pull = static_cast<double>(objective_.sample_weight(i)) * line.length;
  const auto g = [&](double p) { return alpha * p + pull * loss_.derivative(line.length * p + line.intercept, y); };
  const double now = line.projections.front();
  if (g(now) == 0) return {now, now};
  if (const auto flat = loss_.flat(y)) {
    const Flat<double> on_line{(flat->begin - line.intercept) / line.length,
                               (flat->end - line.intercept) / line.length};
    const double root = alpha > 0 ? root_at_kinks(on_line, pull / alpha) : std::clamp(now, on_line.begin, on_line.end);
    return {root, root};
  }
  Range range{-kInfinity, kInfinity};
  // The slope of g lies between alpha and alpha + curvature length^2.
  const double steepest = alpha + pull * config_.curvature * line.length;
  for (const double p : line.projections) {
    const double slope = g(p);
    const double near = p - slope / steepest;
    // Infinite without L2. Where g is 0 the nearest root lies from there on towards p_t.
    const double far = slope == 0 ? std::copysign(kInfinity, now - p) : p - slope / alpha;
    range.low = std::max(range.low, std::min(near, far));
    range.high = std::min(range.high, std::max(near, far));
  }
  if (range.low > range.high) range.low = range.high = (range.low + range.high) / 2;  // by rounding
  return range;
}

template <typename Data>
Fate DelayedSgd<Data>::judge(std::size_t i, const Line& line, double change, double shrink) const {
  if (line.length == 0) return Fate::accepted;
  const Range range = range_of(i, line);
  const auto& p = line.projections;
  const bool above = std::ranges::all_of(p, [&](double each) { return each >= range.high; });
  const bool below = std::ranges::all_of(p, [&](double each) { return each <= range.low; });
  if (!above && !below) return Fate::both_sides;
  const double after = (p.front() - change * line.length) / shrink;
  if (!((above && after >= range.high) || (below && after <= range.low))) return Fate::crossing;
  if (!config_.strict) return Fate::accepted;
  // Weights that are 0, or lie along the row, are not turned: but for rounding `across` is then 0.
  if (line.across < -kRounding<Real> * square_.value_or(0)) return Fate::turned;
  const double end = above ? range.high : range.low;
  return std::abs(p.back() - end) < std::abs(p.front() - end) ? Fate::slower : Fate::accepted;
}

template <typename Data>
double DelayedSgd<Data>::product_with(std::span<const Real> weights, std::size_t row) const {
  const auto x = objective_.X().row(row);
  double sum = 0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    sum += static_cast<double>(weights[x.index(k)]) * static_cast<double>(x.value(k));
  }
  return sum / inverse_scale_;
}

template <typename Data>
double DelayedSgd<Data>::square_of(std::span<const Real> weights) const {
  double sum = 0;
  for (const Real w : weights.first(objective_.X().features())) sum += static_cast<double>(w) * static_cast<double>(w);
  return sum / (inverse_scale_ * inverse_scale_);
}

#define DSGD_INSTANTIATE(Data) template class DelayedSgd<Data>;
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
