// Stochastic gradient descent on named rows:
//
//   for k = 1, 2, ...:   i = rows_k
//                        g = s_i loss'(w.x_i + b, y_i)
//                        w <- prox(w - step_k g x_i),   b <- b - rate step_k g
//
// With a delay, g is that of the weights `delay` steps before. The penalty is brought as in sgd.cpp: L2 shrinks all
// weights at once by way of a scale (scaled_weights.hpp), which lasts from call to call. With several decision values,
// and where there is L1, prox shrinks the support of x_i only (penalty.hpp).
#include "dsgd/solver/row_sgd.hpp"

#include <type_traits>  // for remove_cvref_t

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/check_size.hpp"
#include "dsgd/solver/rows.hpp"
#include "dsgd/solver/scaled_weights.hpp"

namespace dsgd {

template <typename Data>
void RowSgd<Data>::steps(std::span<Real> weights, std::span<const std::int64_t> rows,
                         std::span<const double> step_sizes, std::size_t index) {
  check_rows(rows, objective_.X().rows());
  if (step_sizes.size() != 1) check_size("step", step_sizes.size(), rows.size());
  run(weights, rows, step_sizes, index, delay_);
}

template <typename Data>
void RowSgd<Data>::settle(std::span<Real> weights) {
  if (!due_.empty()) run(weights, {}, {}, 0, 0);
  if (inverse_scale_ != 1) fold_scale(weights, objective_.config().fit_intercept, inverse_scale_);
}

/// Visits `rows`, and makes all steps that are due but the last `left`.
template <typename Data>
void RowSgd<Data>::run(std::span<Real> weights, std::span<const std::int64_t> rows, std::span<const double> step_sizes,
                       std::size_t index, std::size_t left) {
  objective_.check_weights(weights);
  const bool constant = step_sizes.size() == 1;
  // The loss is chosen at every sample, which keeps the bits of sgd_epoch with fewer compiled loops.
  objective_.visit_descent([&](const SampleKernel auto& kernel) {
    std::size_t done = 0;
    const auto visit = [&](auto&& w) {
      const auto make_due_steps = [&] {
        for (; due_.size() > left; due_.pop_front()) {
          const Due& next = due_.front();
          w.descend(next.row, std::span<const Real>(next.residual), next.step, next.phase);
        }
      };
      auto seen = kernel.residual();
      for (const std::int64_t row : rows) {
        const auto i = static_cast<std::size_t>(row);
        const auto step = static_cast<Real>(step_sizes[constant ? 0 : done]);
        w.evaluate(i, seen, false);
        if (delay_ == 0) {
          w.descend(i, seen, step, penalty_phase(i, index));
        } else {
          due_.push_back({i, {seen.begin(), seen.end()}, step, penalty_phase(i, index)});
          make_due_steps();
        }
        ++done;
      }
      make_due_steps();
    };
    using Kernel = std::remove_cvref_t<decltype(kernel)>;
    if constexpr (kScales<Kernel>) {
      visit(ScaledAccess<Kernel, false>(kernel, weights, Average{}, done, &inverse_scale_));
    } else {
      Exclusive policy;
      visit(kernel.access(weights, policy));
    }
  });
}

#define DSGD_INSTANTIATE(Data) template class RowSgd<Data>;
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
