// Stochastic gradient descent, one sample a step, on one thread:
//
//   for t = 1, 2, ...:   draw i without replacement
//                        g = s_i loss'(w.x_i + b, y_i)
//                        w <- prox(w - step_t g x_i),   b <- b - rate step_t g
//
// With a passive-aggressive schedule a sample takes only a share of its step (schedule.hpp), which
// is the same as a smaller g. With one decision value, L2 shrinks all weights in every step
// (scaled_weights.hpp). With several, and with L1, prox shrinks only the support of x_i, each
// coordinate by its share of the penalty (penalty.hpp).
#include "dsgd/solver/sgd.hpp"

#include <algorithm>    // for max
#include <type_traits>  // for remove_cvref_t

#include "dsgd/core/atomic.hpp"
#include "dsgd/objective/linear.hpp"
#include "dsgd/solver/scaled_weights.hpp"

namespace dsgd {

template <SampleObjective Objective>
double sgd_epoch(const Objective& objective, std::span<typename Objective::Real> weights, const Epoch& epoch,
                 std::span<std::int64_t> visited, const Average& average, bool sum_loss) {
  using Real = typename Objective::Real;
  const auto& X = objective.X();
  objective.check_weights(weights);
  check_visited(visited, X.rows());
  average.check(weights.size());
  double losses = 0;
  objective.visit([&](const SampleKernel auto& kernel) {
    std::size_t done = 0;
    const auto run = [&](auto&& w) {
      auto seen = kernel.residual();
      const StepSizes<Real> step_sizes(epoch.schedule, epoch.index);
      const bool with_loss = sum_loss || !step_sizes.whole();
      epoch.sampler(X.rows(), 0, 1).for_each(X, [&](std::size_t i) {
        const Real loss = w.evaluate(i, seen, with_loss);
        const Real step = step_sizes(epoch.t(X.rows(), done));
        if (sum_loss) losses += static_cast<double>(objective.sample_weight(i) * loss);
        if (!step_sizes.whole()) {
          const Real share = step_sizes.share(X.row(i), loss, step);
          for (Real& each : seen) each *= share;
        }
        w.descend(i, seen, step, penalty_phase(i, epoch.index));
        if (!visited.empty()) visited[done] = static_cast<std::int64_t>(i);
        ++done;
      });
    };
    using Kernel = std::remove_cvref_t<decltype(kernel)>;
    if constexpr (kScales<Kernel>) {
      if (average.drift.empty()) {
        run(ScaledAccess<Kernel, false>(kernel, weights, average, done));
      } else {
        run(ScaledAccess<Kernel, true>(kernel, weights, average, done));
      }
    } else if (average.drift.empty()) {
      Exclusive policy;
      run(kernel.access(weights, policy));
    } else {
      Averaged<Real> policy(weights, average, done);
      run(kernel.access(weights, policy));
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
