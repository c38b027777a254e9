// Hogwild! (Niu, Recht, Re, Wright 2011, Algorithm 1, as its section 5 runs it). Every thread runs
// this loop:
//
//   loop   draw a sample e of its share, without replacement          (shares.hpp)
//          read x_e, evaluate G_e = s_e loss'(w.x_e + b, y_e)
//          for v in e:   w_v <- prox_v(w_v - step G_e x_ev)     one component at a time, no lock
//
// The paper's theory draws samples with replacement and updates one component v of e. Its
// experiments, and this code, update all components of e.
//
// With replicas (replica.hpp) a thread runs the loop on its copy of the weights. L2 alone is then in
// the scale of the copy (scaled_weights.hpp), and v changes only where the loss has a slope.
#include "dsgd/solver/hogwild.hpp"

#include <algorithm>    // for max
#include <numeric>      // for accumulate
#include <type_traits>  // for is_void_v, remove_cvref_t
#include <utility>      // for move

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/objective/linear.hpp"
#include "dsgd/solver/scaled_weights.hpp"
#include "dsgd/solver/sgd.hpp"

namespace dsgd {
namespace {

/// Makes a step, and returns whether it has changed weights. An access without a scale does not say
/// so; its steps count as changes.
template <typename Access, typename Residual, typename Real>
bool step(Access& w, std::size_t i, const Residual& residual, Real size, std::size_t phase) {
  if constexpr (std::is_void_v<decltype(w.descend(i, residual, size, phase))>) {
    w.descend(i, residual, size, phase);
    return true;
  } else {
    return w.descend(i, residual, size, phase);
  }
}

}  // namespace

template <GradientObjective Objective>
template <typename Policy>
double Hogwild<Objective>::pass(std::span<Real> weights, const Epoch& epoch, Shares& shares, std::size_t thread,
                                const Gate& gate) {
  const auto& X = objective_.X();
  std::optional<Delays::Thread> delays;
  if (delays_) delays.emplace(*delays_, thread);
  double losses = 0;
  objective_.visit([&](const SampleKernel auto& kernel) {
    Policy policy;
    const auto w = kernel.access(weights, policy);
    auto seen = kernel.residual();
    const StepSizes<Real> step_sizes(epoch.schedule, epoch.index);
    shares.for_each(X, thread, [&](std::size_t e, std::size_t t) {
      const auto held = gate.hold(X.row(e));
      if (delays) delays->read();
      const Real loss = w.evaluate(e, seen, config_.sum_loss);
      if (config_.sum_loss) losses += static_cast<double>(objective_.sample_weight(e) * loss);
      held.await_turn();
      w.descend(e, seen, step_sizes(t), penalty_phase(e, epoch.index));
      if (delays) delays->finish();
    });
  });
  return losses;
}

template <GradientObjective Objective>
double Hogwild<Objective>::replicate(const Epoch& epoch, Shares& shares, std::size_t thread) {
  const auto& X = objective_.X();
  Replica<Real>& replica = replicas_[thread];
  replica.begin(shared_);
  std::optional<Delays::Thread> delays;
  if (delays_) delays.emplace(*delays_, thread);
  double losses = 0;
  objective_.visit([&](const SampleKernel auto& kernel) {
    const auto run = [&](auto&& w) {
      auto seen = kernel.residual();
      const StepSizes<Real> step_sizes(epoch.schedule, epoch.index);
      shares.for_each(X, thread, [&](std::size_t e, std::size_t t) {
        const Real loss = w.evaluate(e, seen, config_.sum_loss);
        if (config_.sum_loss) losses += static_cast<double>(objective_.sample_weight(e) * loss);
        const bool changed = step(w, e, seen, step_sizes(t), penalty_phase(e, epoch.index));
        if (delays) delays->finish();
        if (replica.advance(*plan_, changed) && delays) delays->read();
      });
    };
    using Kernel = std::remove_cvref_t<decltype(kernel)>;
    if constexpr (kScales<Kernel>) {
      run(ReplicaAccess<Kernel>(kernel, replica.weights(), replica));
    } else {
      Exclusive policy;
      run(kernel.access(replica.weights(), policy));
    }
  });
  replica.finish();
  return losses;
}

template <GradientObjective Objective>
Hogwild<Objective>::Hogwild(const Objective& objective, HogwildConfig config)
    : objective_(objective), config_(std::move(config)) {
  const auto& write = config_.write;
  if (write != "racy" && write != "atomic" && write != "locked" && write != "in-turn") {
    throw Error(ErrorCode::config, "unknown write policy '" + write + "'; use racy, atomic, locked or in-turn");
  }
  if (write == "locked") {
    if (!objective.X().canonical()) throw Error(ErrorCode::data, "locked writes need sorted, distinct columns");
    locks_ = std::vector<std::atomic_flag>(objective.X().features() + 1);
  }
  if (write == "racy" && config_.n_threads > 1 && config_.merge_visits > 0) {
    plan_ = plan_merges(objective, config_.merge_visits, config_.n_threads);
    replicas_.resize(config_.n_threads);
  }
  if (config_.record_delay) delays_.emplace(config_.n_threads);
}

template <GradientObjective Objective>
std::vector<std::uint64_t> Hogwild<Objective>::delays() const {
  return delays_ ? delays_->histogram() : std::vector<std::uint64_t>();
}

template <GradientObjective Objective>
double Hogwild<Objective>::alone(std::span<Real> weights, const Epoch& epoch) {
  if (delays_) delays_->count_undelayed(objective_.X().rows());
  return sgd_epoch(objective_, weights, epoch, {}, {}, config_.sum_loss);
}

template <GradientObjective Objective>
void Hogwild<Objective>::merged_epoch(std::span<Real> weights, const Epoch& epoch, std::span<double> losses) {
  const bool intercept = objective_.has_intercept();
  shared_.begin(weights, weights.size() - (intercept ? objective_.parameters_per_feature() : 0));
  Shares shares(epoch, objective_.X().rows(), losses.size());
  parallel_region(losses.size(), [&](std::size_t thread) { losses[thread] = replicate(epoch, shares, thread); });
  // Only linear models of one decision value have a scale other than 1.
  if (shared_.inverse != 1) fold_scale(weights, intercept, shared_.inverse);
}

template <GradientObjective Objective>
double Hogwild<Objective>::epoch(std::span<Real> weights, const Epoch& epoch) {
  objective_.check_weights(weights);
  const std::size_t n_threads = config_.n_threads;
  if (n_threads == 1) return alone(weights, epoch);
  std::vector<double> losses(n_threads);  // one per thread, written once
  if (plan_) {
    merged_epoch(weights, epoch, losses);
  } else if (config_.write == "in-turn") {
    Cycle cycle(n_threads);
    Shares shares(epoch, objective_.X().rows(), n_threads, /*fixed=*/true);
    concurrent_region(n_threads, [&](std::size_t thread) {
      const Gate gate(cycle, thread);
      losses[thread] = pass<Racy>(weights, epoch, shares, thread, gate);
    });
  } else {
    const Gate gate(locks_, objective_.has_intercept());  // an open gate if there are no locks
    Shares shares(epoch, objective_.X().rows(), n_threads);
    parallel_region(n_threads, [&](std::size_t thread) {
      if (config_.write == "atomic") {
        losses[thread] = pass<Atomic>(weights, epoch, shares, thread, gate);
      } else {
        losses[thread] = pass<Racy>(weights, epoch, shares, thread, gate);
      }
    });
  }
  const double sum = std::accumulate(losses.begin(), losses.end(), 0.0);
  return sum / static_cast<double>(std::max<std::size_t>(objective_.X().rows(), 1));
}

#define DSGD_INSTANTIATE(Data) template class Hogwild<LinearObjective<Data>>;  // NOLINT(bugprone-macro-parentheses)
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
