#include "dsgd/solver/rows.hpp"

#include <string>   // for string, to_string
#include <utility>  // for cmp_greater_equal

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/objective/linear_weights.hpp"

namespace dsgd {
namespace {

void check_size(const char* what, std::size_t size, std::size_t expected) {
  if (size != expected) {
    throw Error(ErrorCode::config,
                std::string(what) + " has " + std::to_string(size) + " elements; expected " + std::to_string(expected));
  }
}

void check_rows(std::span<const std::int64_t> rows, std::size_t n_rows) {
  for (const std::int64_t row : rows) {
    if (row < 0 || std::cmp_greater_equal(row, n_rows)) {
      throw Error(ErrorCode::config, "row " + std::to_string(row) + " is not one of " + std::to_string(n_rows));
    }
  }
}

}  // namespace

template <typename Data>
std::size_t rows_gradient(const LinearObjective<Data>& objective, std::span<const typename Data::Real> weights,
                          std::span<const std::int64_t> rows, std::span<double> gradient, std::span<double> due) {
  using Real = typename Data::Real;
  objective.check_weights(weights);
  check_size("gradient", gradient.size(), weights.size());
  if (!due.empty()) check_size("due", due.size(), weights.size());
  check_rows(rows, objective.X().rows());
  Exclusive policy;
  const bool intercept = objective.config().fit_intercept;
  const LinearWeights<const Real, Exclusive> w(weights, intercept, policy);
  std::size_t entries = 0;
  visit_loss(objective.config().loss, [&](auto loss) {
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      const auto x = objective.X().row(i);
      const auto slope =
          static_cast<double>(objective.sample_weight(i) * loss.derivative(w.decision(x), objective.y()[i]));
      entries += x.size();
      for (std::size_t k = 0; k < x.size(); ++k) gradient[x.index(k)] += slope * static_cast<double>(x.value(k));
      if (intercept) gradient.back() += slope;
      if (due.empty()) continue;
      for (std::size_t k = 0; k < x.size(); ++k) due[x.index(k)] += objective.inverse_frequency(x.index(k));
    }
  });
  return entries;
}

template <typename Data>
std::size_t rows_descend(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights,
                         std::span<const typename Data::Real> anchor, std::span<const typename Data::Real> pull,
                         std::span<const std::int64_t> rows, double step) {
  using Real = typename Data::Real;
  objective.check_weights(weights);
  const bool reduced = !anchor.empty() || !pull.empty();
  if (reduced) {
    check_size("anchor", anchor.size(), weights.size());
    check_size("pull", pull.size(), weights.size());
  }
  check_rows(rows, objective.X().rows());
  Exclusive policy;
  const bool intercept = objective.config().fit_intercept;
  const LinearWeights<Real, Exclusive> w(weights, intercept, policy);
  const LinearWeights<const Real, Exclusive> at_anchor(anchor, intercept, policy);
  const auto size = static_cast<Real>(step);
  const Real intercept_step = static_cast<Real>(objective.config().intercept_rate) * size;
  std::size_t entries = 0;
  objective.visit([&](auto loss, auto penalty) {
    penalty.with_prox(size, 1, [&](const auto& prox) {
      for (const std::int64_t row : rows) {
        const auto i = static_cast<std::size_t>(row);
        const auto x = objective.X().row(i);
        const Real y = objective.y()[i];
        Real slope = loss.derivative(w.decision(x), y);
        if (reduced) slope -= loss.derivative(at_anchor.decision(x), y);
        slope *= objective.sample_weight(i);
        for (std::size_t k = 0; k < x.size(); ++k) {
          const std::size_t j = x.index(k);
          const Real gradient = reduced ? slope * x.value(k) + pull[j] : slope * x.value(k);
          weights[j] = prox(weights[j] - size * gradient, j);
        }
        if (intercept) weights.back() -= intercept_step * (reduced ? slope + pull.back() : slope);
        entries += reduced ? 2 * x.size() : x.size();
      }
    });
  });
  return entries;
}

#define DSGD_INSTANTIATE(Data)                                                                                        \
  template std::size_t rows_gradient(const LinearObjective<Data>&, std::span<const Data::Real>,                       \
                                     std::span<const std::int64_t>, std::span<double>, std::span<double>);            \
  template std::size_t rows_descend(const LinearObjective<Data>&, std::span<Data::Real>, std::span<const Data::Real>, \
                                    std::span<const Data::Real>, std::span<const std::int64_t>, double);
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
