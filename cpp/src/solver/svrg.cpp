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
//   scalar      w = a v + c mu, with the same numbers a and c for all j. The part of the step that
//               is the same for all weights changes a and c only. This is exactly the step above.
//               L2 only
//
// A feature that no row holds has mu_j = 0. "scalar" regularises its weight; with "reweighted" the
// caller must do it afterwards.
#include "dsgd/solver/svrg.hpp"

#include <algorithm>  // for clamp, min, transform
#include <cmath>      // for exp, expm1, log1p
#include <utility>    // for move

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/check_size.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/objective/gradient_norm.hpp"
#include "dsgd/solver/rows.hpp"

namespace dsgd {
namespace {

/// "scalar": a may fall to exp(-kFold); then v is set to w, and a to 1.
constexpr double kFold = 4;

}  // namespace

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
  const std::size_t n = objective_.X().rows();
  const std::size_t n_blocks = n / std::clamp<std::size_t>(epoch.block_size, 1, n);
  // Every thread has a row.
  const std::size_t threads = std::clamp<std::size_t>(n_blocks, 1, config_.n_threads);
  walks_.clear();
  for (std::size_t thread = 0; thread < threads; ++thread) {
    walks_.push_back({Draws(n, epoch.block_size, thread, threads, RandomStream(epoch.seed, epoch.index, thread))});
  }
  n_steps_ = 0;
}

template <typename Data>
void Svrg<Data>::take_anchor(std::span<const Real> weights) {
  objective_.loss_gradient(weights, mean_, config_.n_threads, residuals_);
  std::ranges::transform(mean_, pull_.begin(), [](double mean) { return static_cast<Real>(mean); });
  spread(pull_, objective_.inverse_frequency());
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

/// The step of a sample, lengthened by its own gradient: step (1 + sigma), where sigma is the norm
/// of the gradient divided by the mean norm of all samples so far.
template <typename Data>
template <typename Row>
auto Svrg<Data>::lengthened(Real step, std::span<const Real> residual, const Row& x, Norms& norms) const -> Real {
  const double norm = gradient_norm(x, residual, objective_.config().fit_intercept);
  norms.sum += norm;
  ++norms.samples;
  const double mean = norms.sum / static_cast<double>(norms.samples);
  const double sigma = mean > 0 ? std::min(config_.max_sigma, norm / mean) : 0;
  return static_cast<Real>(std::min(config_.longest_step, static_cast<double>(step) * (1 + sigma)));
}

/// Makes a step on every row. `for_each_row(on_row)` calls `on_row` with the rows.
template <typename Data>
template <typename Policy, typename Rows>
void Svrg<Data>::reweighted(std::span<Real> weights, Real step, Norms& norms, const Rows& for_each_row) const {
  objective_.visit_reduced([&](const auto& kernel) {
    Policy policy;
    const auto w = kernel.access(weights, policy);
    auto seen = kernel.residual();
    for_each_row([&](std::size_t i) {
      w.evaluate(i, seen, false);
      const Real eta = config_.max_sigma > 0 ? lengthened(step, seen, objective_.X().row(i), norms) : step;
      change_since_anchor(i, seen);
      w.descend_reduced(i, seen, eta, pull_);
    });
  });
}

/// Replaces the residual of row i by its difference from the residual at the anchor.
template <typename Data>
void Svrg<Data>::change_since_anchor(std::size_t i, std::span<Real> residual) const {
  for (std::size_t c = 0; c < residual.size(); ++c) residual[c] -= residuals_[i * residual.size() + c];
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
  Norms norms;
  reweighted<Exclusive>(weights, static_cast<Real>(step), norms, [&](const auto& on_row) {
    for (const std::int64_t row : rows) on_row(static_cast<std::size_t>(row));
  });
}

/// a and c after `taken` steps w <- (w - eta mu) / (1 + eta alpha).
template <typename Data>
auto Svrg<Data>::multipliers(double step, std::size_t taken) const -> Multipliers {
  const double alpha = objective_.config().alpha_l2;
  const auto t = static_cast<double>(taken);
  if (alpha == 0) return {Real{1}, static_cast<Real>(-step * t)};
  const double exponent = -t * std::log1p(step * alpha);
  return {static_cast<Real>(std::exp(exponent)), static_cast<Real>(std::expm1(exponent) / alpha)};
}

template <typename Data>
template <typename Policy>
void Svrg<Data>::scalar(std::span<Real> v, double step, Walk& walk, std::size_t count, std::int64_t* visited,
                        std::atomic<std::size_t>& taken) const {
  visit_outputs(objective_.config().loss, [&]<typename Loss>(const Loss& loss) {
    // Without a penalty: the multipliers apply it.
    const LinearKernel<Data, Loss, NoPenalty> kernel{objective_, loss, {}};
    Policy policy;
    Exclusive reading;
    const auto access = kernel.access(v, policy);
    const auto& of_v = access.weights();
    const auto reader = kernel.access(std::span<const Real>(pull_), reading);
    const auto& mu = reader.weights();
    const std::span<const Real> pull_of_intercepts = std::span(pull_).last(objective_.parameters_per_feature());
    const auto eta = static_cast<Real>(step);
    const auto rate = static_cast<Real>(objective_.config().intercept_rate);
    auto seen = kernel.residual();
    auto shift = kernel.residual();
    walk.draws.take(count, [&](std::size_t i) {
      const auto x = objective_.X().row(i);
      const auto [a, c] = multipliers(step, taken.fetch_add(1, std::memory_order_relaxed));
      of_v.products(x, seen);
      mu.products(x, shift);
      for (std::size_t k = 0; k < seen.size(); ++k) seen[k] = a * seen[k] + c * shift[k];
      of_v.add_intercepts(seen);
      access.finish(i, seen, false);
      change_since_anchor(i, seen);
      for (std::size_t k = 0; k < seen.size(); ++k) {
        shift[k] = rate * eta * (seen[k] + pull_of_intercepts[k]);
        seen[k] *= eta / a;
      }
      of_v.subtract(x, seen);
      of_v.subtract_intercepts(shift);
      if (visited != nullptr) *visited++ = static_cast<std::int64_t>(i);
    });
  });
}

/// Sets v to w.
template <typename Data>
void Svrg<Data>::fold(std::span<Real> v, double step, std::size_t taken) const {
  const auto [a, c] = multipliers(step, taken);
  const std::size_t regularised = objective_.X().features() * objective_.parameters_per_feature();
  for (std::size_t w = 0; w < regularised; ++w) v[w] = a * v[w] + c * pull_[w];
}

/// Calls `body(walk, n_steps)` on every thread. It divides `count` steps over the threads so that
/// each thread's share of all steps so far is its share of the rows.
template <typename Data>
template <typename Body>
void Svrg<Data>::share_out(std::size_t count, const Body& body) {
  n_steps_ += count;
  const std::size_t n = objective_.X().rows();
  const std::size_t passes = n_steps_ / n;
  const std::size_t rest = n_steps_ % n;
  std::size_t owned = 0;
  std::vector<std::size_t> due;
  for (const Walk& walk : walks_) {
    const std::size_t before = rest * owned / n;
    owned += walk.draws.size();
    due.push_back(passes * walk.draws.size() + rest * owned / n - before);
  }
  parallel_region(walks_.size(), [&](std::size_t thread) {
    Walk& walk = walks_[thread];
    const std::size_t n_steps = due[thread] > walk.n_steps ? due[thread] - walk.n_steps : 0;
    body(walk, n_steps);
    walk.n_steps += n_steps;
  });
}

template <typename Data>
void Svrg<Data>::descend(std::span<Real> weights, double step, std::size_t count, std::span<std::int64_t> visited) {
  objective_.check_weights(weights);
  if (walks_.empty()) throw Error(ErrorCode::config, "descend needs rows: begin an epoch first");
  if (!visited.empty() && (visited.size() != count || walks_.size() > 1)) {
    throw Error(ErrorCode::config, "visited must have one element for every step, on one thread");
  }
  const bool alone = walks_.size() == 1;
  std::int64_t* next = visited.empty() ? nullptr : visited.data();
  if (config_.mean_gradient == "reweighted") {
    const auto eta = static_cast<Real>(step);
    share_out(count, [&](Walk& walk, std::size_t n_steps) {
      const auto rows = [&](const auto& on_row) {
        walk.draws.take(n_steps, [&](std::size_t i) {
          on_row(i);
          if (next != nullptr) *next++ = static_cast<std::int64_t>(i);
        });
      };
      if (alone) {
        reweighted<Exclusive>(weights, eta, walk.norms, rows);
      } else {
        reweighted<Racy>(weights, eta, walk.norms, rows);
      }
    });
    return;
  }
  const double shrinkage = std::log1p(step * objective_.config().alpha_l2);
  while (count > 0) {
    std::size_t part = count;
    if (shrinkage * static_cast<double>(count) > kFold) part = static_cast<std::size_t>(kFold / shrinkage) + 1;
    std::atomic<std::size_t> taken{0};
    share_out(part, [&](Walk& walk, std::size_t n_steps) {
      if (alone) {
        scalar<Exclusive>(weights, step, walk, n_steps, next, taken);
      } else {
        scalar<Racy>(weights, step, walk, n_steps, next, taken);
      }
    });
    fold(weights, step, taken);
    if (next != nullptr) next += part;
    count -= part;
  }
}

#define DSGD_INSTANTIATE(Data) template class Svrg<Data>;
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
