#include "dsgd/solver/rows.hpp"

#include <string>   // for to_string
#include <utility>  // for cmp_greater_equal

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/check_size.hpp"
#include "dsgd/objective/linear_weights.hpp"

namespace dsgd {

void check_rows(std::span<const std::int64_t> rows, std::size_t n_rows) {
  for (const std::int64_t row : rows) {
    if (row < 0 || std::cmp_greater_equal(row, n_rows)) {
      throw Error(ErrorCode::config, "row " + std::to_string(row) + " is not one of " + std::to_string(n_rows));
    }
  }
}

template <typename Data>
void rows_gradient(const LinearObjective<Data>& objective, std::span<const typename Data::Real> weights,
                   std::span<const std::int64_t> rows, std::span<double> gradient) {
  using Real = typename Data::Real;
  objective.check_weights(weights);
  check_size("gradient", gradient.size(), weights.size());
  check_rows(rows, objective.X().rows());
  Exclusive policy;
  const bool intercept = objective.config().fit_intercept;
  const LinearWeights<const Real, Exclusive> w(weights, intercept, policy);
  visit_loss(objective.config().loss, [&](auto loss) {
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      const auto x = objective.X().row(i);
      const auto slope =
          static_cast<double>(objective.sample_weight(i) * loss.derivative(w.decision(x), objective.y()[i]));
      for (std::size_t k = 0; k < x.size(); ++k) gradient[x.index(k)] += slope * static_cast<double>(x.value(k));
      if (intercept) gradient.back() += slope;
    }
  });
}

#define DSGD_INSTANTIATE(Data)                                                           \
  template void rows_gradient(const LinearObjective<Data>&, std::span<const Data::Real>, \
                              std::span<const std::int64_t>, std::span<double>);
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
