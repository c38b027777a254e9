// Stochastic variance reduced gradient, Algorithm 1 of DisSVRG (Ming, Zhao, Guo, Yin) with its
// misprints corrected:
//
//   for s = 1, 2, ...:
//     anchor = w,   mu = (1/n) sum_i s_i loss'(anchor.x_i, y_i) x_i         all threads, exact
//     for t = 1..m:   draw i                                               no lock
//                     g = s_i (loss'(w.x_i, y_i) - loss'(anchor.x_i, y_i))
//                     w <- prox(w - eta (g x_i + mu))
//
// mu is the gradient of the loss alone. The penalty is in the prox, so that a step from the optimum
// stays at the optimum. mu is dense, but x_i may be sparse. Two forms of the step change only the
// support of x_i:
//
//   reweighted  w_j <- prox_j(w_j - eta (g x_ij + mu_j / p_j)), where prox_j has the step eta / p_j
//               and p_j is the frequency of feature j. On average this is the step above ("sparse
//               SVRG"; Mania, Pan, Papailiopoulos, Recht, Ramchandran, Jordan 2015, "Perturbed
//               iterate analysis for asynchronous stochastic optimization"). Every single step from
//               the optimum stays at the optimum
//   scalar      w = a v + c mu, with the same numbers a and c for all j (svrg_scalar.hpp). The part
//               of the step that is the same for all weights changes a and c only. This is exactly
//               the step above. L2 only
//
// A feature that no row holds has mu_j = 0. "scalar" regularises its weight; with "reweighted" the
// caller must do it afterwards.
#include "dsgd/solver/svrg.hpp"

#include <algorithm>  // for transform
#include <utility>    // for move

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/check_size.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/solver/rows.hpp"

namespace dsgd {

template <typename Data>
Svrg<Data>::Svrg(const LinearObjective<Data>& objective, SvrgConfig config)
    : objective_(objective),
      config_(std::move(config)),
      mean_(objective.n_parameters()),
      pull_(objective.n_parameters()),
      residuals_(objective.X().rows() * objective.residual_size()) {
  const bool scalar = config_.mean_gradient == "scalar";
  if (!scalar && config_.mean_gradient != "reweighted") {
    throw Error(ErrorCode::config, "unknown form '" + config_.mean_gradient + "'; use reweighted or scalar");
  }
  if (scalar && (objective.config().alpha_l1 > 0 || config_.max_sigma > 0)) {
    throw Error(ErrorCode::config, "the scalar form knows neither L1 nor steps of different lengths; use reweighted");
  }
}

template <typename Data>
void Svrg<Data>::begin(const Epoch& epoch) {
  draws_ = SharedDraws(objective_.X().rows(), epoch, config_.n_threads);
  factors_.assign(draws_.n_threads(), new_factor());
}

template <typename Data>
double Svrg<Data>::take_anchor(std::span<const Real> weights, bool with_loss) {
  const double loss = objective_.loss_gradient(weights, mean_, config_.n_threads, residuals_, with_loss);
  std::ranges::transform(mean_, pull_.begin(), [](double mean) { return static_cast<Real>(mean); });
  spread(pull_, objective_.inverse_frequency());
  return loss;
}

template <typename Data>
void Svrg<Data>::use_mean(std::span<const Real> mean, std::span<const Real> inverse_frequency) {
  check_size("mean_gradient", mean.size(), pull_.size());
  if (!inverse_frequency.empty()) {
    check_size("inverse_frequency", inverse_frequency.size(), Data::kSparse ? objective_.X().features() : 0);
  }
  spread(mean, inverse_frequency.empty() ? objective_.inverse_frequency() : inverse_frequency);
}

/// Sets `pull_` to the part of the mean gradient that a step on the support applies. An intercept
/// is in the support of every row.
template <typename Data>
void Svrg<Data>::spread(std::span<const Real> mean, std::span<const Real> inverse_frequency) {
  has_mean_ = true;
  const std::size_t m = objective_.parameters_per_feature();
  const std::size_t scaled = config_.mean_gradient == "scalar" ? 0 : inverse_frequency.size() * m;
  for (std::size_t w = 0; w < mean.size(); ++w) pull_[w] = w < scaled ? mean[w] * inverse_frequency[w / m] : mean[w];
}

/// The inner loop of Algorithm 1 on the rows that `for_each_row` names: it calls `on_row(i)` for
/// each of them. `w` is a thread's access to the weights in one of the two forms, and `g` memory for
/// a residual. Inlined, so that `w` stays in registers: a dense row would take a tenth longer.
template <typename Data>
template <typename Access, typename Residual, typename Rows>
[[gnu::always_inline]] inline void Svrg<Data>::inner_loop(Access&& w, Residual g, Real step, SampleFactor& factor,
                                                          const Rows& for_each_row) const {
  for_each_row([&](std::size_t i) {
    w.evaluate(i, g, false);  // g = s_i loss'(w.x_i, y_i)
    const Real eta = factor.on() ? factor.lengthen(step, objective_.X().row(i), std::span<const Real>(g)) : step;
    for (std::size_t k = 0; k < g.size(); ++k) g[k] -= residuals_[i * g.size() + k];  // - s_i loss'(anchor.x_i, y_i)
    w.descend_reduced(i, g, eta, pull_);                                              // w <- prox(w - eta (g x_i + mu))
  });
}

template <typename Data>
template <typename Policy, typename Rows>
void Svrg<Data>::reweighted(std::span<Real> weights, Real step, SampleFactor& factor, const Rows& for_each_row) const {
  objective_.visit_reduced([&](const auto& kernel) {
    Policy policy;
    inner_loop(kernel.access(weights, policy), kernel.residual(), step, factor, for_each_row);
  });
}

template <typename Data>
template <typename Policy, typename Rows>
void Svrg<Data>::scalar(std::span<Real> weights, Real step, ScalarForm<Real>& form, SampleFactor& factor,
                        const Rows& for_each_row) const {
  visit_outputs(objective_.config().loss, [&]<typename Loss>(const Loss& loss) {
    Policy policy;
    const LinearKernel<Data, Loss, NoPenalty> kernel{objective_, loss, {}};  // the form applies the penalty
    inner_loop(ScalarAccess(kernel, form, weights, std::span<const Real>(pull_), policy), kernel.residual(), step,
               factor, for_each_row);
  });
}

template <typename Data>
void Svrg<Data>::descend_rows(std::span<Real> weights, double step, std::span<const std::int64_t> rows) {
  objective_.check_weights(weights);
  check_rows(rows, objective_.X().rows());
  if (config_.mean_gradient == "scalar") {
    throw Error(ErrorCode::config, "the scalar form takes its rows from an epoch; use reweighted");
  }
  if (!has_mean_) {
    throw Error(ErrorCode::config, "descend_rows needs a mean gradient: take an anchor or use_mean first");
  }
  SampleFactor factor = new_factor();
  reweighted<Exclusive>(weights, static_cast<Real>(step), factor, [&](const auto& on_row) {
    for (const std::int64_t row : rows) on_row(static_cast<std::size_t>(row));
  });
}

/// Calls `body(policy, factor, for_each_row)` on every thread, with the rows of its part of the next
/// `count` steps. Writes these rows into `visited`, unless it is null.
template <typename Data>
template <typename Body>
void Svrg<Data>::on_threads(std::size_t count, std::int64_t* visited, const Body& body) {
  const bool alone = draws_.n_threads() == 1;
  draws_.share_out(count, [&](std::size_t thread, Draws& draws, std::size_t n_steps) {
    const auto rows = [&](const auto& on_row) {
      draws.take(n_steps, [&](std::size_t i) {
        on_row(i);
        if (visited != nullptr) *visited++ = static_cast<std::int64_t>(i);
      });
    };
    if (alone) {
      body(Exclusive{}, factors_[thread], rows);
    } else {
      body(Racy{}, factors_[thread], rows);
    }
  });
}

template <typename Data>
void Svrg<Data>::descend(std::span<Real> weights, double step, std::size_t count, std::span<std::int64_t> visited) {
  objective_.check_weights(weights);
  if (draws_.n_threads() == 0) throw Error(ErrorCode::config, "descend needs rows: begin an epoch first");
  if (!visited.empty() && (visited.size() != count || draws_.n_threads() > 1)) {
    throw Error(ErrorCode::config, "visited must have one element for every step, on one thread");
  }
  std::int64_t* next = visited.empty() ? nullptr : visited.data();
  const auto eta = static_cast<Real>(step);
  if (config_.mean_gradient == "reweighted") {
    on_threads(count, next, [&]<typename Policy>(Policy /*policy*/, SampleFactor& factor, const auto& rows) {
      reweighted<Policy>(weights, eta, factor, rows);
    });
    return;
  }
  ScalarForm<Real> form(step, objective_.config().alpha_l2);
  const std::size_t regularised = objective_.X().features() * objective_.parameters_per_feature();
  while (count > 0) {
    const std::size_t part = form.before_fold(count);
    on_threads(part, next, [&]<typename Policy>(Policy /*policy*/, SampleFactor& factor, const auto& rows) {
      scalar<Policy>(weights, eta, form, factor, rows);
    });
    form.fold(weights.first(regularised), pull_);
    if (next != nullptr) next += part;
    count -= part;
  }
}

#define DSGD_INSTANTIATE(Data) template class Svrg<Data>;
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
