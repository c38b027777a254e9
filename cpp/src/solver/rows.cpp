#include "dsgd/solver/rows.hpp"

#include <string>   // for string, to_string
#include <utility>  // for cmp_greater_equal

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/objective/row_sum.hpp"

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
  const std::size_t m = objective.parameters_per_feature();
  std::size_t entries = 0;
  objective.visit([&](const auto& kernel) {
    const auto steps = kernel.steps(weights, policy);
    auto residual = kernel.residual();
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      const auto x = objective.X().row(i);
      steps.evaluate(i, residual, false);
      entries += x.size();
      add_row(x, std::span<const Real>(residual), objective.X().features(), gradient);
      if (due.empty()) continue;
      for (std::size_t k = 0; k < x.size(); ++k) {
        const std::size_t j = x.index(k);
        for (double& share : due.subspan(j * m, m)) share += objective.inverse_frequency(j);
      }
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
  const auto size = static_cast<Real>(step);
  const std::vector<Real> nothing(reduced ? 0 : weights.size());
  std::size_t entries = 0;
  objective.visit([&](const auto& kernel) {
    const auto steps = kernel.steps(weights, policy);
    const auto at_anchor = kernel.steps(anchor, policy);
    auto change = kernel.residual();
    auto before = kernel.residual();
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      steps.evaluate(i, change, false);
      if (reduced) {
        at_anchor.evaluate(i, before, false);
        for (std::size_t c = 0; c < change.size(); ++c) change[c] -= before[c];
      }
      steps.descend_reduced(i, change, size, reduced ? pull : std::span<const Real>(nothing));
      entries += objective.X().row(i).size() * (reduced ? 2 : 1);
    }
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
