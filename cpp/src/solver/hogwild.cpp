// Hogwild! (Niu, Recht, Re, Wright 2011, Algorithm 1, as its section 5 runs it). Every thread, on its own:
//
//   loop   draw a sample e of its share, without replacement
//          read x_e, evaluate G_e = s_e loss'(w.x_e + b, y_e)
//          for v in e:   w_v <- prox_v(w_v - step G_e x_ev)          one component at a time, no lock
//
// The paper's theory samples one component v of e with replacement; its experiments, and we, update all of e.
#include "dsgd/solver/hogwild.hpp"

#include <string>  // for string

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/objective/linear_weights.hpp"

namespace dsgd {
namespace {

template <typename Data, typename Policy>
void run(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights, const Epoch& epoch,
         std::size_t n_threads, Policy policy) {
  using Real = typename Data::Real;
  const Data& X = objective.X();
  objective.visit([&](auto loss, auto penalty) {
    parallel_region(n_threads, [&](std::size_t thread) {
      const LinearWeights<Real, Policy> w(weights, objective.config().fit_intercept, policy);
      const EpochSteps<Real> steps(epoch.schedule, epoch.index);
      const auto rate = static_cast<Real>(objective.config().intercept_rate);
      std::size_t t = epoch.index * X.rows() + thread + 1;  // samples drawn by all threads, as this one counts them
      epoch.sampler(X.rows(), thread, n_threads).for_each([&](std::size_t e) {
        const auto x = X.row(e);
        [[maybe_unused]] const auto guard = w.guard(x);
        const Real gradient = objective.sample_weight(e) * loss.derivative(w.decision(x), objective.y()[e]);
        w.descend(x, gradient, steps(t), rate, penalty, e + epoch.index);
        t += n_threads;
      });
    });
  });
}

}  // namespace

template <typename Data>
void hogwild_epoch(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights, const Epoch& epoch,
                   std::size_t n_threads, std::string_view write) {
  objective.check_weights(weights);
  if (write == "racy") return run(objective, weights, epoch, n_threads, Racy{});
  if (write == "atomic") return run(objective, weights, epoch, n_threads, Atomic{});
  if (write == "locked") {
    if constexpr (Data::kSparse) {
      if (!objective.X().canonical()) throw Error(ErrorCode::data, "locked writes need sorted, distinct columns");
    }
    return run(objective, weights, epoch, n_threads, Locked(objective.X().features() + 1));
  }
  throw Error(ErrorCode::config, "unknown write policy '" + std::string(write) + "'; use racy, atomic or locked");
}

#define DSGD_INSTANTIATE(Data)                                                                                \
  template void hogwild_epoch(const LinearObjective<Data>&, std::span<Data::Real>, const Epoch&, std::size_t, \
                              std::string_view);
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
