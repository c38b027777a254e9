#include "dsgd/solver/rows.hpp"

#include <string>   // for to_string
#include <utility>  // for cmp_greater_equal

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/check_size.hpp"
#include "dsgd/objective/row_sum.hpp"
#include "dsgd/solver/sampler.hpp"

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
  objective.visit_evaluation([&](const auto& kernel) {
    const auto access = kernel.access(weights, policy);
    auto residual = kernel.residual();
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      access.evaluate(i, residual, false);
      add_row(objective.X().row(i), std::span<const Real>(residual), objective.X().features(), gradient);
    }
  });
}

void draw_rows(std::size_t n_rows, std::size_t block_size, std::uint64_t seed, std::size_t index, std::size_t stream,
               std::span<std::int64_t> out) {
  if (n_rows == 0) throw Error(ErrorCode::config, "no rows to draw from");
  auto next = out.begin();
  Draws draws(n_rows, block_size, 0, 1, RandomStream(seed, index, stream));
  draws.take(out.size(), [&](std::size_t row) { *next++ = static_cast<std::int64_t>(row); });
}

#define DSGD_INSTANTIATE(Data)                                                           \
  template void rows_gradient(const LinearObjective<Data>&, std::span<const Data::Real>, \
                              std::span<const std::int64_t>, std::span<double>);
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
