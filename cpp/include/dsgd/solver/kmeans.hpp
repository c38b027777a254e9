// Stochastic k-means: mini-batch steps on the mean squared quantisation error (quantisation.hpp).
// All threads work on one batch, or each on its own as in Hogwild!.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int64_t, uint64_t
#include <span>     // for span
#include <vector>   // for vector

#include "dsgd/objective/quantisation.hpp"
#include "dsgd/solver/averaging.hpp"
#include "dsgd/solver/epoch.hpp"
#include "dsgd/solver/hogwild.hpp"

namespace dsgd {

/// One pass over the data, in steps of one row or of `batch_size` rows, like the functions of the
/// same names in sgd.hpp and minibatch.hpp. No step moves a centre beyond the mean of its rows, and a
/// step size of infinity moves every centre that has rows exactly there. The same epoch of the same
/// seed changes the centres in the same way, bit for bit, on any number of threads. Throws
/// Error(data) for columns that are not sorted and distinct.
template <typename Data>
double sgd_epoch(const QuantisationObjective<Data>& objective, std::span<typename Data::Real> weights,
                 const Epoch& epoch, std::span<std::int64_t> visited, const Average& average, bool sum_loss);
template <typename Data>
double minibatch_epoch(const QuantisationObjective<Data>& objective, std::span<typename Data::Real> weights,
                       const Epoch& epoch, std::size_t batch_size, std::size_t n_threads,
                       std::span<std::int64_t> visited, const Average& average, bool sum_loss);

/// One step on `rows`, of a batch of `batch_size`: the step that `minibatch_epoch` makes of them; without a penalty
/// the `index` of the epoch does not matter. Throws Error(config) for a row that is not there, Error(data) for columns
/// that are not sorted and distinct.
template <typename Data>
void minibatch_step(const QuantisationObjective<Data>& objective, std::span<typename Data::Real> weights,
                    std::span<const std::int64_t> rows, double step, std::size_t batch_size, std::size_t index,
                    std::size_t n_threads);

/// Adds the sum over `rows` of the gradients s_i (w_c - x_i), c the nearest centre, to the first n_parameters()
/// elements of `gradient`, and the sum of the weights s_i of the rows of every centre to the n_clusters() elements
/// behind: by these a step can end at the mean of the rows. Throws Error(config) for wrong sizes and a row that is not
/// there.
template <typename Data>
void rows_gradient(const QuantisationObjective<Data>& objective, std::span<const typename Data::Real> weights,
                   std::span<const std::int64_t> rows, std::span<double> gradient);

/// Hogwild! for k-means. Threads share the centres and nothing else. Each thread makes mini-batch
/// steps on rows of its own and applies them to the shared centres, which may have changed since it
/// read them. A batch has `kBatchRows` rows, or all rows if there are fewer.
template <typename Data>
class Hogwild<QuantisationObjective<Data>> {
 public:
  using Real = typename Data::Real;
  static constexpr std::size_t kBatchRows = 1024;

  /// The objective must outlive the solver. Throws Error(config) for policies other than "racy" and
  /// "atomic".
  Hogwild(const QuantisationObjective<Data>& objective, HogwildConfig config);

  /// One pass over the data by all threads; see `Hogwild::epoch`.
  double epoch(std::span<Real> weights, const Epoch& epoch);

  /// Empty: delays are not recorded.
  [[nodiscard]] static std::vector<std::uint64_t> delays() { return {}; }

 private:
  template <typename Policy>
  [[nodiscard]] double pass(std::span<Real> weights, const Epoch& epoch, Shares& shares, std::size_t thread,
                            Policy policy) const;

  const QuantisationObjective<Data>& objective_;
  HogwildConfig config_;
};

}  // namespace dsgd
