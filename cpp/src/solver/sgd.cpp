// Stochastic gradient descent, one sample a step, on one thread:
//
//   for t = 1, 2, ...:   draw i without replacement
//                        g = s_i loss'(w.x_i + b, y_i)
//                        w <- prox(w - step_t g x_i),   b <- b - rate step_t g
//
// Passive-aggressive samples take a share of their step (schedule.hpp), which is the same as a smaller g.
// L2 shrinks all weights at once (scaled_weights.hpp); where there is L1, prox shrinks the support of x_i only, each
// coordinate by its share of the penalty (penalty.hpp).
#include "dsgd/solver/sgd.hpp"

#include <algorithm>  // for max

#include "dsgd/core/atomic.hpp"
#include "dsgd/objective/linear_weights.hpp"
#include "dsgd/solver/scaled_weights.hpp"

namespace dsgd {

namespace {

template <typename Penalty>
constexpr bool kIsL2 = false;
template <typename Real, typename Frequency>
constexpr bool kIsL2<L2<Real, Frequency>> = true;

}  // namespace

template <typename Data>
double sgd_epoch(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights, const Epoch& epoch,
                 std::span<std::int64_t> visited, const Average& average, bool sum_loss) {
  using Real = typename Data::Real;
  const Data& X = objective.X();
  objective.check_weights(weights);
  check_visited(visited, X.rows());
  average.check(weights.size());
  double losses = 0;
  objective.visit([&](auto loss, auto penalty) {
    std::size_t done = 0;
    const auto run = [&](auto&& w) {
      const EpochSteps<Real> steps(epoch.schedule, epoch.index);
      const auto rate = static_cast<Real>(objective.config().intercept_rate);
      epoch.sampler(X.rows(), 0, 1).for_each(X, [&](std::size_t i) {
        const auto x = X.row(i);
        const Real z = w.decision(x);
        const Real y = objective.y()[i];
        const Real step = steps(epoch.t(X.rows(), done));
        Real gradient = objective.sample_weight(i) * loss.derivative(z, y);
        if (sum_loss) losses += static_cast<double>(objective.sample_weight(i) * loss.value(z, y));
        if (!steps.whole()) gradient *= steps.share(x, loss.value(z, y), step);
        w.descend(x, gradient, step, rate, penalty, visit_number(i, epoch.index));
        if (!visited.empty()) visited[done] = static_cast<std::int64_t>(i);
        ++done;
      });
    };
    const bool intercept = objective.config().fit_intercept;
    if constexpr (kIsL2<decltype(penalty)>) {
      const double alpha = objective.config().alpha_l2;
      if (average.drift.empty()) {
        run(ScaledWeights<Real, false>(weights, intercept, alpha, average, done));
      } else {
        run(ScaledWeights<Real, true>(weights, intercept, alpha, average, done));
      }
    } else if (average.drift.empty()) {
      Exclusive policy;
      run(LinearWeights<Real, Exclusive>(weights, intercept, policy));
    } else {
      Averaged<Real> policy(weights, average, done);
      run(LinearWeights<Real, Averaged<Real>>(weights, intercept, policy));
    }
  });
  return losses / static_cast<double>(std::max<std::size_t>(X.rows(), 1));
}

#define DSGD_INSTANTIATE(Data)                                                                 \
  template double sgd_epoch(const LinearObjective<Data>&, std::span<Data::Real>, const Epoch&, \
                            std::span<std::int64_t>, const Average&, bool);
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
