// Stochastic gradient descent on rows that a worker program names.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t
#include <deque>    // for deque
#include <span>     // for span
#include <vector>   // for vector

#include "dsgd/objective/linear.hpp"

namespace dsgd {

/// Steps on rows in turn, on one thread, in as many calls as the caller likes. The same rows in the same order with the
/// same step sizes change the weights as `sgd_epoch` does, bit for bit, if `settle` is called at the ends of epochs.
///
/// With a `delay` of d, a step goes along the gradient that its row had d steps before (Langford, Smola, Zinkevich
/// 2009, "Slow learners are fast"), as if d + 1 workers took turns: each reads the weights, and its step is made when
/// all others have made theirs.
template <typename Data>
class RowSgd {
 public:
  using Real = typename Data::Real;

  explicit RowSgd(const LinearObjective<Data>& objective, std::size_t delay = 0)
      : objective_(objective), delay_(delay) {}

  /// Visits `rows`. `step_sizes` has one element for all rows, or one for each. `index` is the number of the epoch,
  /// for penalties that rows bring in turn (penalty.hpp). Afterwards the weights lack the scale of L2 and the last
  /// `delay` steps, which `settle` brings. Throws Error(config) for a row that is not there and for wrong sizes.
  void steps(std::span<Real> weights, std::span<const std::int64_t> rows, std::span<const double> step_sizes,
             std::size_t index);

  /// Makes the steps that are still due, and multiplies the weights by their scale.
  void settle(std::span<Real> weights);

 private:
  /// A step whose gradient is known.
  struct Due {
    std::size_t row;
    std::vector<Real> residual;
    Real step;
    std::size_t phase;
  };

  void run(std::span<Real> weights, std::span<const std::int64_t> rows, std::span<const double> step_sizes,
           std::size_t index, std::size_t left);

  const LinearObjective<Data>& objective_;
  std::size_t delay_;
  std::deque<Due> due_;
  double inverse_scale_ = 1;
};

}  // namespace dsgd
