// Stochastic k-means: mini-batch steps on the mean squared quantisation error (quantisation.hpp), synchronous on all
// threads or as Hogwild!.
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

/// As the functions of these names in sgd.hpp and minibatch.hpp: one pass over the data in steps of one row, or of
/// `batch_size` rows. The same epoch of the same seed changes the centres in the same way, bit for bit, on any number
/// of threads. Throws Error(data) for columns that are not sorted and distinct.
template <typename Data>
double sgd_epoch(const QuantisationObjective<Data>& objective, std::span<typename Data::Real> weights,
                 const Epoch& epoch, std::span<std::int64_t> visited, const Average& average, bool sum_loss);
template <typename Data>
double minibatch_epoch(const QuantisationObjective<Data>& objective, std::span<typename Data::Real> weights,
                       const Epoch& epoch, std::size_t batch_size, std::size_t n_threads,
                       std::span<std::int64_t> visited, const Average& average, bool sum_loss);

/// Hogwild!, of threads that share the centres and nothing else: each makes steps of rows of its own, `kBatchRows` of
/// them or all that there are, and writes them into the centres as they then are.
template <typename Data>
class Hogwild<QuantisationObjective<Data>> {
 public:
  using Real = typename Data::Real;
  static constexpr std::size_t kBatchRows = 1024;

  /// The objective must outlive the solver. Throws Error(config) for policies other than "racy" and "atomic".
  Hogwild(const QuantisationObjective<Data>& objective, HogwildConfig config);

  /// One pass over the data by all threads; see `Hogwild::epoch`.
  double epoch(std::span<Real> weights, const Epoch& epoch);

  /// None are recorded.
  [[nodiscard]] static std::vector<std::uint64_t> delays() { return {}; }

 private:
  template <typename Policy>
  [[nodiscard]] double pass(std::span<Real> weights, const Epoch& epoch, std::size_t thread, Policy policy) const;

  const QuantisationObjective<Data>& objective_;
  HogwildConfig config_;
};

}  // namespace dsgd
