// Stochastic gradient descent on named rows:
//
//   for k = 1, 2, ...:   i = rows_k
//                        g = s_i loss'(w.x_i + b, y_i)
//                        w <- prox(w - step_k g x_i),   b <- b - rate step_k g
//
// The penalty is brought as in sgd.cpp: L2 shrinks all weights at once by way of a scale (scaled_weights.hpp), which is
// folded into the weights at the end of a call. With several decision values, and where there is L1, prox shrinks the
// support of x_i only (penalty.hpp).
#include "dsgd/solver/row_sgd.hpp"

#include <type_traits>  // for remove_cvref_t

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/check_size.hpp"
#include "dsgd/solver/rows.hpp"
#include "dsgd/solver/scaled_weights.hpp"

namespace dsgd {

template <typename Data>
void sgd_rows(const LinearObjective<Data>& objective, std::span<typename Data::Real> weights,
              std::span<const std::int64_t> rows, std::span<const double> step_sizes, std::size_t index) {
  using Real = typename Data::Real;
  objective.check_weights(weights);
  check_rows(rows, objective.X().rows());
  const bool constant = step_sizes.size() == 1;
  if (!constant) check_size("step", step_sizes.size(), rows.size());
  // The loss is chosen at every sample, which keeps the bits of sgd_epoch with fewer compiled loops.
  objective.visit_descent([&](const SampleKernel auto& kernel) {
    std::size_t done = 0;
    const auto run = [&](auto&& w) {
      auto seen = kernel.residual();
      for (const std::int64_t row : rows) {
        const auto i = static_cast<std::size_t>(row);
        w.evaluate(i, seen, false);
        w.descend(i, seen, static_cast<Real>(step_sizes[constant ? 0 : done]), penalty_phase(i, index));
        ++done;
      }
    };
    using Kernel = std::remove_cvref_t<decltype(kernel)>;
    if constexpr (kScales<Kernel>) {
      run(ScaledAccess<Kernel, false>(kernel, weights, {}, done));
    } else {
      Exclusive policy;
      run(kernel.access(weights, policy));
    }
  });
}

#define DSGD_INSTANTIATE(Data)                                                                               \
  template void sgd_rows(const LinearObjective<Data>&, std::span<Data::Real>, std::span<const std::int64_t>, \
                         std::span<const double>, std::size_t);
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
