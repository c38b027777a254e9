// Hogwild! (Niu, Recht, Re, Wright 2011, Algorithm 1, as its section 5 runs it). Every thread, on its own:
//
//   loop   draw a sample e of its share, without replacement
//          read x_e, evaluate G_e = s_e loss'(w.x_e + b, y_e)
//          for v in e:   w_v <- prox_v(w_v - step G_e x_ev)          one component at a time, no lock
//
// The paper's theory samples one component v of e with replacement; its experiments, and we, update all of e.
#include "dsgd/solver/hogwild.hpp"

#include <mutex>   // for mutex
#include <string>  // for string

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/objective/linear_weights.hpp"
#include "dsgd/solver/replica.hpp"

namespace dsgd {
namespace {

/// One thread's share of an epoch. `after` is called after every sample.
template <typename Data, typename Policy, typename After>
void pass(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights, const Epoch& epoch,
          std::size_t thread, std::size_t n_threads, Policy& policy, After&& after) {
  using Real = typename Data::Real;
  const Data& X = objective.X();
  objective.visit([&](auto loss, auto penalty) {
    const LinearWeights<Real, Policy> w(weights, objective.config().fit_intercept, policy);
    const EpochSteps<Real> steps(epoch.schedule, epoch.index);
    const auto rate = static_cast<Real>(objective.config().intercept_rate);
    std::size_t t = epoch.t(X.rows(), thread);  // samples drawn by all threads, as this one counts them
    epoch.sampler(X.rows(), thread, n_threads).for_each([&](std::size_t e) {
      const auto x = X.row(e);
      {
        [[maybe_unused]] const auto guard = w.guard(x);
        const Real gradient = objective.sample_weight(e) * loss.derivative(w.decision(x), objective.y()[e]);
        w.descend(x, gradient, steps(t), rate, penalty, e + epoch.index);
      }
      t += n_threads;
      after();
    });
  });
}

template <typename Data, typename Policy>
void share(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights, const Epoch& epoch,
           std::size_t n_threads, Policy policy) {
  parallel_region(n_threads,
                  [&](std::size_t thread) { pass(objective, weights, epoch, thread, n_threads, policy, [] {}); });
}

template <typename Data>
void replicate(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights, const Epoch& epoch,
               std::size_t n_threads, std::size_t merge_every) {
  std::mutex mutex;
  parallel_region(n_threads, [&](std::size_t thread) {
    Replica replica(weights, mutex);
    Exclusive policy;
    std::size_t since = 0;
    pass(objective, replica.weights(), epoch, thread, n_threads, policy, [&] {
      if (++since < merge_every) return;
      replica.merge();
      since = 0;
    });
    replica.merge();
  });
}

}  // namespace

template <typename Data>
void hogwild_epoch(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights, const Epoch& epoch,
                   std::size_t n_threads, std::string_view write, std::size_t merge_every) {
  objective.check_weights(weights);
  if (write == "racy" && n_threads == 1) return share(objective, weights, epoch, n_threads, Exclusive{});
  if (write == "racy" && merge_every > 0) return replicate(objective, weights, epoch, n_threads, merge_every);
  if (write == "racy") return share(objective, weights, epoch, n_threads, Racy{});
  if (write == "atomic") return share(objective, weights, epoch, n_threads, Atomic{});
  if (write == "locked") {
    if constexpr (Data::kSparse) {
      if (!objective.X().canonical()) throw Error(ErrorCode::data, "locked writes need sorted, distinct columns");
    }
    return share(objective, weights, epoch, n_threads, Locked(objective.X().features() + 1));
  }
  throw Error(ErrorCode::config, "unknown write policy '" + std::string(write) + "'; use racy, atomic or locked");
}

#define DSGD_INSTANTIATE(Data)                                                                                \
  template void hogwild_epoch(const LinearObjective<Data>&, std::span<Data::Real>, const Epoch&, std::size_t, \
                              std::string_view, std::size_t);
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
