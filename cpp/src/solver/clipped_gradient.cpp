#include "dsgd/solver/clipped_gradient.hpp"

#include <string>  // for to_string
#include <vector>  // for vector

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/check_size.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/objective/gradient_norm.hpp"
#include "dsgd/objective/row_sum.hpp"
#include "dsgd/solver/rows.hpp"

namespace dsgd {

template <typename Data>
std::size_t clipped_gradient(const LinearObjective<Data>& objective, std::span<const typename Data::Real> weights,
                             std::span<const std::int64_t> rows, double clip_norm, std::span<double> gradient) {
  using Real = typename Data::Real;
  objective.check_weights(weights);
  check_size("gradient", gradient.size(), weights.size());
  check_rows(rows, objective.X().rows());
  if (!(clip_norm > 0)) {
    throw Error(ErrorCode::config, "clip_norm must be above 0, not " + std::to_string(clip_norm));
  }
  std::size_t clipped = 0;
  Exclusive policy;
  objective.visit_evaluation([&](const auto& kernel) {
    const auto w = kernel.access(weights, policy);
    auto residual = kernel.residual();
    std::vector<double> shortened(objective.residual_size());
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      const auto x = objective.X().row(i);
      w.evaluate(i, residual, false);
      const double norm = gradient_norm(x, std::span<const Real>(residual), objective.has_intercept());
      const bool longer = norm > clip_norm;
      const double share = longer ? clip_norm / norm : 1;
      for (std::size_t c = 0; c < shortened.size(); ++c) shortened[c] = share * static_cast<double>(residual[c]);
      add_row(x, std::span<const double>(shortened), objective.X().features(), gradient);
      clipped += longer ? 1 : 0;
    }
  });
  return clipped;
}

#define DSGD_INSTANTIATE(Data)                                                                     \
  template std::size_t clipped_gradient(const LinearObjective<Data>&, std::span<const Data::Real>, \
                                        std::span<const std::int64_t>, double, std::span<double>);
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
