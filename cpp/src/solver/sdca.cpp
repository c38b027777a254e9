// Stochastic dual coordinate ascent (Shalev-Shwartz, Zhang 2013, "Stochastic dual coordinate ascent
// methods for regularized loss minimization", procedure SDCA-Perm, with the exact step of option
// I):
//
//   loop   draw i without replacement
//          beta_i' <- argmax D along beta_i                      (dual.hpp)
//          w <- w + 1/(alpha n) s_i (beta_i' - beta_i) x_i
//
// What this loop adds to the procedure has files of its own: the first epoch (dual_start.hpp), the
// samples that are left out (rest.hpp) and the intercept (dual_intercept.hpp).
//
// Threads. Each thread takes the samples of its share and writes a replica of the weights. Replicas
// are merged often, and no change is lost, so that the weights stay those of the dual variables.
// PASSCoDe (Hsieh, Yu, Dhillon 2015) writes shared weights instead: its atomic additions cost more
// than replicas, and its racy additions lose changes.
#include "dsgd/solver/sdca.hpp"

#include <algorithm>  // for any_of, max, transform
#include <array>      // for array
#include <limits>     // for numeric_limits

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/check_size.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/data/squared_norms.hpp"
#include "dsgd/objective/dual.hpp"
#include "dsgd/objective/linear_weights.hpp"
#include "dsgd/objective/row_sum.hpp"
#include "dsgd/solver/dual_start.hpp"

namespace dsgd {
template <typename Data>
Sdca<Data>::Sdca(const LinearObjective<Data>& objective, SdcaConfig config)
    : objective_(objective),
      config_(config),
      first_(config.sgd_first),
      scale_(1 / (objective.config().alpha_l2 * static_cast<double>(objective.X().rows()))),
      intercept_(objective.config()),
      rest_(objective.X().rows(), config.max_rest),
      curvature_(objective.X().rows()),
      beta_(objective.X().rows()),
      losses_(config.sum_loss ? objective.X().rows() : 0) {
  if (!(objective.config().alpha_l2 > 0) || objective.config().alpha_l1 != 0) {
    throw Error(ErrorCode::config, "dual coordinate ascent needs the penalty l2 and alpha above 0");
  }
  visit_dual(objective.config().loss, [](auto) {});
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

template <typename Data>
double Sdca<Data>::begin(std::span<const double> duals, std::span<Real> weights) {
  check_size("duals", duals.size(), beta_.size());
  std::ranges::transform(duals, beta_.begin(), [](double each) { return static_cast<Real>(each); });
  wake();
  first_ = false;
  return rebuild(weights);
}

/// The curvature of sample i. The first visit computes it, when the row is in the cache: a separate
/// pass for all samples would read the data once more.
template <typename Data>
template <typename Row>
auto Sdca<Data>::curvature(std::size_t i, const Row& x) -> Real {
  if (curvature_[i] == 0) {
    const double norm = squared_norm(x) + intercept_.rate();
    const double curvature = static_cast<double>(objective_.sample_weight(i)) * norm * scale_ * config_.damping;
    // Above 0, since it is a divisor.
    curvature_[i] = std::max(static_cast<Real>(curvature), std::numeric_limits<Real>::min());
  }
  return curvature_[i];
}

/// One thread's share of an epoch. If `weights` belong to a replica, `replica` is that replica,
/// otherwise null.
template <typename Data>
template <typename Loss>
SdcaEpoch Sdca<Data>::pass(const Loss& loss, std::span<Real> weights, Shares& shares, std::size_t thread,
                           bool measure_gap, std::span<std::int64_t> visited, Replica<Real>* replica) {
  const Data& X = objective_.X();
  const auto step = static_cast<Real>(scale_);
  const auto rate = static_cast<Real>(intercept_.rate());
  const DualStart<Real> start(X.rows(), config_.n_threads, intercept_.centre());
  Exclusive policy;
  const LinearWeights<Real, Exclusive> w(weights, objective_.config().fit_intercept, policy);
  SdcaEpoch done{0, 0, 0};
  shares.for_each(X, thread, [&](std::size_t i, std::size_t /*t*/) {
    if (rest_.skips(i)) return;
    if (!visited.empty()) visited[done.visits] = static_cast<std::int64_t>(i);
    ++done.visits;
    const auto x = X.row(i);
    const Real z = w.decision(x);
    const Real y = objective_.y()[i];
    const Real s = objective_.sample_weight(i);
    const Real old = beta_[i];
    if (config_.sum_loss) losses_[i] = s * loss.value(z, y);
    if (measure_gap) done.gap += static_cast<double>(s) * sample_gap(loss, z, old, y);
    const Real q = curvature(i, x);
    const Real beta = first_ ? start.step(loss, done.visits, z, old, q, y) : dual_step(loss, z, old, q, y);
    const bool changed = beta != old;
    beta_[i] = beta;
    if (changed) w.descend(x, std::array{s * (old - beta)}, step, rate, NoPenalty{}, 0);
    rest_.record(i, changed);
    if (replica != nullptr) replica->advance(plan_, changed);
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
  Shares shares(epoch, objective_.X().rows(), config_.n_threads);
  visit_dual(objective_.config().loss, [&](auto loss) {
    if (replicas_.empty()) {
      done[0] = pass(loss, weights, shares, 0, measure_gap, visited, nullptr);
      return;
    }
    shared_.begin(weights, 0);
    parallel_region(config_.n_threads, [&](std::size_t thread) {
      Replica<Real>& replica = replicas_[thread];
      replica.begin(shared_);
      done[thread] = pass(loss, replica.weights(), shares, thread, measure_gap, {}, &replica);
      replica.finish();
    });
  });
  first_ = false;
  intercept_.move_centre(weights);
  SdcaEpoch total{0, 0, 0};
  for (const SdcaEpoch& part : done) {
    total.visits += part.visits;
    total.gap += part.gap;
  }
  // A sample at rest keeps the loss of its last visit: the step there changed nothing.
  for (const Real each : losses_) total.loss += static_cast<double>(each);
  total.loss /= static_cast<double>(objective_.X().rows());
  return total;
}

template <typename Data>
double Sdca<Data>::rebuild(std::span<Real> weights) {
  objective_.check_weights(weights);
  const Data& X = objective_.X();
  intercept_.balance(objective_, std::span(beta_));
  std::vector<double> sum(X.features());
  if (std::ranges::any_of(beta_, [](Real each) { return each != 0; })) {  // none at the start of a run
    row_sum(X, config_.n_threads, scale_, std::span(sum), [&](std::size_t i, const auto& /*x*/) {
      return static_cast<double>(objective_.sample_weight(i)) * static_cast<double>(beta_[i]);
    });
  }
  double norm = 0;
  for (std::size_t j = 0; j < sum.size(); ++j) {
    weights[j] = static_cast<Real>(sum[j]);
    norm += sum[j] * sum[j];
  }
  intercept_.centre_at(std::span<const Real>(weights));
  double value = 0;
  visit_dual(objective_.config().loss, [&](auto loss) {
    for (std::size_t i = 0; i < X.rows(); ++i) {
      value += static_cast<double>(objective_.sample_weight(i)) *
               dual_value(loss, static_cast<double>(beta_[i]), static_cast<double>(objective_.y()[i]));
    }
  });
  return value / static_cast<double>(X.rows()) - objective_.config().alpha_l2 / 2 * norm;
}

#define DSGD_INSTANTIATE(Data) template class Sdca<Data>;
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
