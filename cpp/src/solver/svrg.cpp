// Stochastic variance reduced gradient, Algorithm 1 of DisSVRG (Ming, Zhao, Guo, Yin) with its misprints mended:
//
//   for s = 1, 2, ...:
//     anchor = w,   mu = (1/n) sum_i s_i loss'(anchor.x_i, y_i) x_i                      all threads, exact
//     for t = 1..m:   draw i                                                            no lock
//                     g = s_i (loss'(w.x_i, y_i) - loss'(anchor.x_i, y_i))
//                     w <- prox(w - eta (g x_i + mu))
//
// mu is that of the loss alone; the penalty is in the prox, so that a step from the optimum stays there. mu is dense,
// and x_i is not. There are two ways to touch the support of x_i only:
//
//   reweighted  w_j <- prox_j(w_j - eta (g x_ij + mu_j / p_j)), where prox_j has the step eta / p_j and p_j is the
//               frequency of feature j: the same on average ("sparse SVRG"; Mania, Pan, Papailiopoulos, Recht,
//               Ramchandran, Jordan 2015, "Perturbed iterate analysis for asynchronous stochastic optimization"), and
//               every single step from the optimum stays there
//   scalar      w = a v + c mu with one a and c for all j: what every step does to every weight is done to a and c, the
//               same exactly. L2 only
//
// Features that no row holds have mu_j = 0; "scalar" regularises them, after "reweighted" the caller must.
#include "dsgd/solver/svrg.hpp"

#include <algorithm>  // for clamp, min, transform
#include <cmath>      // for abs, exp, expm1, log1p, sqrt
#include <utility>    // for move

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/check_size.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/data/squared_norms.hpp"
#include "dsgd/objective/linear_weights.hpp"
#include "dsgd/solver/rows.hpp"

namespace dsgd {
namespace {

/// "scalar": a may fall to exp(-4) before v takes it over.
constexpr double kFold = 4;

}  // namespace

template <typename Data>
Svrg<Data>::Svrg(const LinearObjective<Data>& objective, SvrgConfig config)
    : objective_(objective),
      config_(std::move(config)),
      mean_(objective.n_parameters()),
      pull_(objective.n_parameters()),
      derivative_(objective.X().rows()) {
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
  const std::size_t threads = std::clamp<std::size_t>(n_blocks, 1, config_.n_threads);  // each has a row
  walks_.clear();
  for (std::size_t thread = 0; thread < threads; ++thread) {
    walks_.push_back({Draws(n, epoch.block_size, thread, threads, RandomStream(epoch.seed, epoch.index, thread))});
  }
  steps_ = 0;
}

template <typename Data>
void Svrg<Data>::take_anchor(std::span<const Real> weights) {
  objective_.loss_gradient(weights, mean_, config_.n_threads, derivative_);
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

/// Makes the mean gradient what a step on the support brings; the intercept is in every row.
template <typename Data>
void Svrg<Data>::spread(std::span<const Real> mean, std::span<const Real> inverse_frequency) {
  const std::size_t scaled = config_.mean_gradient == "scalar" ? 0 : inverse_frequency.size();
  for (std::size_t j = 0; j < mean.size(); ++j) pull_[j] = j < scaled ? mean[j] * inverse_frequency[j] : mean[j];
}

/// The accelerated factor by the sample's own gradient: step (1 + sigma), where sigma is its norm over the mean so far.
template <typename Data>
template <typename Row>
auto Svrg<Data>::lengthened(Real step, Real derivative, const Row& x, Norms& norms) const -> Real {
  const double squares = squared_norm(x) + (objective_.config().fit_intercept ? 1 : 0);
  const double norm = std::abs(static_cast<double>(derivative)) * std::sqrt(squares);
  norms.sum += norm;
  ++norms.samples;
  const double mean = norms.sum / static_cast<double>(norms.samples);
  const double sigma = mean > 0 ? std::min(config_.max_sigma, norm / mean) : 0;
  return static_cast<Real>(std::min(config_.longest_step, static_cast<double>(step) * (1 + sigma)));
}

/// Steps on every row that `for_each_row` calls its argument with.
template <typename Data>
template <typename Policy, typename Rows>
void Svrg<Data>::reweighted(std::span<Real> weights, Real step, Norms& norms, const Rows& for_each_row) const {
  const Data& X = objective_.X();
  objective_.visit([&](auto loss, auto penalty) {
    Policy policy;
    const LinearWeights<Real, Policy> w(weights, objective_.config().fit_intercept, policy);
    const auto rate = static_cast<Real>(objective_.config().intercept_rate);
    for_each_row([&](std::size_t i) {
      const auto x = X.row(i);
      const Real derivative = objective_.sample_weight(i) * loss.derivative(w.decision(x), objective_.y()[i]);
      const Real g = derivative - derivative_[i];
      const Real eta = config_.max_sigma > 0 ? lengthened(step, derivative, x, norms) : step;
      penalty.with_prox(eta, 1, [&](const auto& prox) {
        w.update(x, [&](Real w_j, Real x_j, std::size_t j) { return prox(w_j - eta * (g * x_j + pull_[j]), j); });
      });
      w.update_intercept([&](Real b) { return b - rate * eta * (g + pull_.back()); });
    });
  });
}

template <typename Data>
void Svrg<Data>::descend_rows(std::span<Real> weights, double step, std::span<const std::int64_t> rows) {
  objective_.check_weights(weights);
  check_rows(rows, objective_.X().rows());
  if (config_.mean_gradient == "scalar") {
    throw Error(ErrorCode::config, "the scalar form takes its rows from an epoch; use reweighted");
  }
  Norms norms;
  reweighted<Exclusive>(weights, static_cast<Real>(step), norms, [&](const auto& visit) {
    for (const std::int64_t row : rows) visit(static_cast<std::size_t>(row));
  });
}

/// a and c after so many steps w <- (w - eta mu) / (1 + eta alpha).
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
  const Data& X = objective_.X();
  const bool fit_intercept = objective_.config().fit_intercept;
  visit_loss(objective_.config().loss, [&](auto loss) {
    Policy policy;
    Exclusive reading;
    const LinearWeights<Real, Policy> of_v(v, fit_intercept, policy);
    const LinearWeights<const Real, Exclusive> mu(pull_, false, reading);
    const auto eta = static_cast<Real>(step);
    const auto rate = static_cast<Real>(objective_.config().intercept_rate);
    walk.draws.take(count, [&](std::size_t i) {
      const auto x = X.row(i);
      const auto [a, c] = multipliers(step, taken.fetch_add(1, std::memory_order_relaxed));
      const Real b = fit_intercept ? Policy::load(v.back()) : Real{0};
      const Real z = a * of_v.product(x) + c * mu.product(x) + b;
      const Real g = objective_.sample_weight(i) * loss.derivative(z, objective_.y()[i]) - derivative_[i];
      const Real scale = eta * g / a;
      of_v.update(x, [&](Real v_j, Real x_j, std::size_t /*j*/) { return v_j - scale * x_j; });
      of_v.update_intercept([&](Real old) { return old - rate * eta * (g + pull_.back()); });
      if (visited != nullptr) *visited++ = static_cast<std::int64_t>(i);
    });
  });
}

/// v becomes w.
template <typename Data>
void Svrg<Data>::fold(std::span<Real> v, double step, std::size_t taken) const {
  const auto [a, c] = multipliers(step, taken);
  for (std::size_t j = 0; j < objective_.X().features(); ++j) v[j] = a * v[j] + c * pull_[j];
}

/// Calls `body(walk, steps)` on every thread, `steps` being as many of `count` as keep its share of all steps
/// that of the rows that it owns.
template <typename Data>
template <typename Body>
void Svrg<Data>::share_out(std::size_t count, const Body& body) {
  steps_ += count;
  const std::size_t n = objective_.X().rows();
  const std::size_t passes = steps_ / n;
  const std::size_t rest = steps_ % n;
  std::size_t owned = 0;
  std::vector<std::size_t> due;
  for (const Walk& walk : walks_) {
    const std::size_t before = rest * owned / n;
    owned += walk.draws.size();
    due.push_back(passes * walk.draws.size() + rest * owned / n - before);
  }
  parallel_region(walks_.size(), [&](std::size_t thread) {
    Walk& walk = walks_[thread];
    const std::size_t steps = due[thread] > walk.steps ? due[thread] - walk.steps : 0;
    body(walk, steps);
    walk.steps += steps;
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
    share_out(count, [&](Walk& walk, std::size_t steps) {
      const auto rows = [&](const auto& visit) {
        walk.draws.take(steps, [&](std::size_t i) {
          visit(i);
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
    share_out(part, [&](Walk& walk, std::size_t steps) {
      if (alone) {
        scalar<Exclusive>(weights, step, walk, steps, next, taken);
      } else {
        scalar<Racy>(weights, step, walk, steps, next, taken);
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
