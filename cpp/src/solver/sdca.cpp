// Stochastic dual coordinate ascent (Shalev-Shwartz, Zhang 2013, "Stochastic dual coordinate ascent
// methods for regularized loss minimization", procedure SDCA-Perm, with the exact step of option
// I):
//
//   loop   draw i without replacement
//          beta_i' <- argmax D along beta_i                      (dual.hpp)
//          w <- w + 1/(alpha n) s_i (beta_i' - beta_i) x_i
//
// First epoch. It is that of the paper's procedure Modified-SGD: step t is exact for the problem
// that consists of the first t samples only. It uses n/t times w and n/t times the curvature.
// Without these factors w would be a sum over n samples to which most have not yet contributed, and
// the first samples would get dual variables that are too large.
//
// Rest. A sample whose step changes nothing, for instance one with a margin well above 1, will
// probably not change soon. It is left out for one epoch, then for two, four, ..., as long as its
// steps change nothing. This is the shrinking of Hsieh et al. 2008, "A dual coordinate descent
// method for large-scale linear SVM", without their bounds.
//
// Intercept. It is the weight of one more, constant feature. It is regularised like other weights,
// but towards its own value after the last epoch instead of 0. This is the proximal point method:
// at its fixed point the regularisation is 0.
//
// Threads. Each thread takes the samples of its share and writes a replica of the weights. Replicas
// are merged often, and no change is lost, so that the weights stay those of the dual variables.
// PASSCoDe (Hsieh, Yu, Dhillon 2015) writes shared weights instead: its atomic additions cost more
// than replicas, and its racy additions lose changes.
#include "dsgd/solver/sdca.hpp"

#include <algorithm>  // for fill, max, min
#include <array>      // for array
#include <limits>     // for numeric_limits
#include <optional>   // for optional

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/data/squared_norms.hpp"
#include "dsgd/objective/dual.hpp"
#include "dsgd/objective/linear_weights.hpp"
#include "dsgd/objective/row_sum.hpp"

namespace dsgd {
namespace {

/// Calls `f` with the loss, which must have a dual.
template <typename F>
void visit_dual(const LossConfig& config, F&& f) {
  visit_loss(config, [&](auto loss) {
    if constexpr (DualLoss<decltype(loss)>) {
      f(loss);
    } else {
      throw Error(ErrorCode::config, "loss '" + config.name + "' has no dual to ascend");
    }
  });
}

}  // namespace

template <typename Data>
Sdca<Data>::Sdca(const LinearObjective<Data>& objective, SdcaConfig config)
    : objective_(objective),
      config_(config),
      first_(config.sgd_first),
      scale_(1 / (objective.config().alpha_l2 * static_cast<double>(objective.X().rows()))),
      intercept_rate_(objective.config().fit_intercept ? objective.config().intercept_rate : 0) {
  if (!(objective.config().alpha_l2 > 0) || objective.config().alpha_l1 != 0) {
    throw Error(ErrorCode::config, "dual coordinate ascent needs the penalty l2 and alpha above 0");
  }
  visit_dual(objective.config().loss, [](auto) {});
  const Data& X = objective.X();
  curvature_.resize(X.rows());
  beta_.resize(X.rows());
  if (config.max_rest > 0) {
    rest_.resize(X.rows());
    idle_.resize(X.rows());
  }
  if (config.n_threads > 1) {
    replicas_.resize(config.n_threads);
    plan_ = plan_merges(objective, config.merge_visits, config.n_threads);
  }
}

template <typename Data>
void Sdca<Data>::begin(std::span<Real> weights) {
  objective_.check_weights(weights);
  const Data& X = objective_.X();
  Exclusive policy;
  const LinearWeights<Real, Exclusive> w(weights, objective_.config().fit_intercept, policy);
  visit_dual(objective_.config().loss, [&](auto loss) {
    for (std::size_t i = 0; i < X.rows(); ++i) {
      beta_[i] = -loss.derivative(w.decision(X.row(i)), objective_.y()[i]);
    }
  });
  rebuild(weights);
  first_ = false;
}

/// n / t at a thread's sample number `visits`, where all threads together are at sample t = visits
/// * n_threads.
template <typename Data>
auto Sdca<Data>::first_share(std::size_t visits) const -> Real {
  const auto t = static_cast<double>(visits * config_.n_threads);
  return static_cast<Real>(std::max(1.0, static_cast<double>(objective_.X().rows()) / t));
}

/// The curvature of sample i. The first visit computes it, when the row is in the cache: a separate
/// pass for all samples would read the data once more.
template <typename Data>
template <typename Row>
auto Sdca<Data>::curvature(std::size_t i, const Row& x) -> Real {
  if (curvature_[i] == 0) {
    const double norm = squared_norm(x) + intercept_rate_;
    const double curvature = static_cast<double>(objective_.sample_weight(i)) * norm * scale_ * config_.damping;
    // Above 0, since it is a divisor.
    curvature_[i] = std::max(static_cast<Real>(curvature), std::numeric_limits<Real>::min());
  }
  return curvature_[i];
}

/// Whether sample i is left out of this epoch. If it is, counts the epoch.
template <typename Data>
bool Sdca<Data>::at_rest(std::size_t i) {
  if (rest_.empty() || rest_[i] == 0) return false;
  --rest_[i];
  return true;
}

/// One thread's share of an epoch. If `weights` belong to a replica, `replica` is that replica,
/// otherwise null.
template <typename Data>
template <typename Loss>
SdcaEpoch Sdca<Data>::pass(const Loss& loss, std::span<Real> weights, const Epoch& epoch, std::size_t thread,
                           bool measure_gap, std::span<std::int64_t> visited, Replica<Real>* replica) {
  const Data& X = objective_.X();
  const auto step = static_cast<Real>(scale_);
  const auto rate = static_cast<Real>(intercept_rate_);
  Exclusive policy;
  const LinearWeights<Real, Exclusive> w(weights, objective_.config().fit_intercept, policy);
  SdcaEpoch done{0, 0};
  epoch.sampler(X.rows(), thread, config_.n_threads).for_each(X, [&](std::size_t i) {
    if (at_rest(i)) return;
    if (!visited.empty()) visited[done.visits] = static_cast<std::int64_t>(i);
    ++done.visits;
    const auto x = X.row(i);
    const Real z = w.decision(x);
    const Real y = objective_.y()[i];
    const Real beta = beta_[i];
    const Real s = objective_.sample_weight(i);
    if (measure_gap) {
      const double value = dual_value(loss, static_cast<double>(beta), static_cast<double>(y));
      done.gap += static_cast<double>(s) * (static_cast<double>(loss.value(z, y) + z * beta) - value);
    }
    if (first_) {
      const Real share = first_share(done.visits);
      const auto centre = static_cast<Real>(centre_);
      beta_[i] = dual_step(loss, centre + share * (z - centre), beta, share * curvature(i, x), y);
    } else {
      beta_[i] = dual_step(loss, z, beta, curvature(i, x), y);
    }
    if (beta_[i] != beta) {
      w.descend(x, std::array{s * (beta - beta_[i])}, step, rate, NoPenalty{}, 0);
    }
    if (!rest_.empty()) {
      idle_[i] = beta_[i] != beta ? 0 : static_cast<std::uint8_t>(std::min(idle_[i] + 1, 8));
      rest_[i] = static_cast<std::uint8_t>(std::min<std::size_t>((1U << idle_[i]) / 2, config_.max_rest));
    }
    if (replica != nullptr) replica->advance(plan_);
  });
  done.gap /= static_cast<double>(X.rows());
  return done;
}

template <typename Data>
SdcaEpoch Sdca<Data>::epoch(std::span<Real> weights, const Epoch& epoch, bool measure_gap,
                            std::span<std::int64_t> visited) {
  objective_.check_weights(weights);
  check_visited(visited, objective_.X().rows());
  std::vector<SdcaEpoch> done(config_.n_threads);
  visit_dual(objective_.config().loss, [&](auto loss) {
    if (replicas_.empty()) {
      done[0] = pass(loss, weights, epoch, 0, measure_gap, visited, nullptr);
      return;
    }
    parallel_region(config_.n_threads, [&](std::size_t thread) {
      Replica<Real>& replica = replicas_[thread];
      replica.begin(weights, merging_);
      done[thread] = pass(loss, replica.weights(), epoch, thread, measure_gap, {}, &replica);
      replica.finish();
    });
  });
  first_ = false;
  if (objective_.config().fit_intercept) move_centre(weights);
  SdcaEpoch total{0, 0};
  for (const SdcaEpoch& part : done) {
    total.visits += part.visits;
    total.gap += part.gap;
  }
  return total;
}

/// The intercept is centre + rate/(alpha n) sum_i s_i beta_i. The centre moves to the intercept,
/// and the intercept by the same distance, so that the equation holds again.
template <typename Data>
void Sdca<Data>::move_centre(std::span<Real> weights) {
  const auto intercept = static_cast<double>(weights.back());
  const double moved = intercept - centre_;
  centre_ = intercept;
  weights.back() = static_cast<Real>(intercept + moved);
}

/// Scales the dual variables of one sign down so that sum_i s_i beta_i = 0. They stay feasible for
/// every loss.
template <typename Data>
void Sdca<Data>::balance() {
  double positive = 0;
  double negative = 0;
  for (std::size_t i = 0; i < beta_.size(); ++i) {
    const double part = static_cast<double>(objective_.sample_weight(i)) * static_cast<double>(beta_[i]);
    (part > 0 ? positive : negative) += part;
  }
  const auto shrink = static_cast<Real>(positive > -negative ? -negative / positive : positive / -negative);
  if (!(shrink < 1)) return;  // the sums are equal, or there is no sum
  for (Real& beta : beta_) {
    if ((beta > 0) == (positive > -negative)) beta *= shrink;
  }
}

template <typename Data>
double Sdca<Data>::rebuild(std::span<Real> weights) {
  objective_.check_weights(weights);
  const Data& X = objective_.X();
  if (objective_.config().fit_intercept) balance();
  std::vector<double> sum(X.features());
  row_sum(X, config_.n_threads, scale_, std::span(sum), [&](std::size_t i, const auto& /*x*/) {
    return static_cast<double>(objective_.sample_weight(i)) * static_cast<double>(beta_[i]);
  });
  double norm = 0;
  for (std::size_t j = 0; j < sum.size(); ++j) {
    weights[j] = static_cast<Real>(sum[j]);
    norm += sum[j] * sum[j];
  }
  if (objective_.config().fit_intercept) centre_ = static_cast<double>(weights.back());
  double value = 0;
  visit_dual(objective_.config().loss, [&](auto loss) {
    for (std::size_t i = 0; i < X.rows(); ++i) {
      value += static_cast<double>(objective_.sample_weight(i)) *
               dual_value(loss, static_cast<double>(beta_[i]), static_cast<double>(objective_.y()[i]));
    }
  });
  return value / static_cast<double>(X.rows()) - objective_.config().alpha_l2 / 2 * norm;
}

template <typename Data>
void Sdca<Data>::wake() {
  std::ranges::fill(rest_, std::uint8_t{0});
}

#define DSGD_INSTANTIATE(Data) template class Sdca<Data>;
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
