// What an objective is, whatever its model: the one interface behind which models meet solvers
// (docs/design/objectives.md).
//
// Its parameters are one flat vector, whose layout is the objective's own affair. Every one is a
// GradientObjective: value and exact gradients, which is all that gradient descent over all rows needs. Stochastic
// solvers ask for a SampleObjective: `visit` gives a kernel, which knows loss and penalty as static types, and a kernel
// gives each thread its access to the weights,
//
//   objective.visit([&](const auto& kernel) {
//     const auto access = kernel.access(weights, policy);       // one thread's, through its write policy (atomic.hpp)
//     auto seen = kernel.residual();                            // what a sample says of the weights
//     const Real loss = access.evaluate(i, seen, with_loss);    // reads
//     access.descend(i, seen, step, phase);                     // writes
//   });
//
// `evaluate` and `descend` are apart, so that the samples of a mini-batch are evaluated at the same weights. A residual
// is of `residual_size()` numbers: the derivatives by the decision values for a linear model. A loop that only
// evaluates or only descends asks for a kernel by `visit_evaluation` or `visit_descent`: these know fewer types apart,
// and so many fewer loops are compiled.
#pragma once

#include <concepts>  // for convertible_to, same_as
#include <cstddef>   // for size_t
#include <span>      // for span
#include <utility>   // for declval

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/types.hpp"

namespace dsgd {

/// Features [begin, end), and, where begin is 0, what belongs to no feature: what one of several threads writes.
struct Features {
  std::size_t begin;
  std::size_t end;
};

/// Value, exact gradient and layout of a model's objective on the rows of X.
///
///   value(weights, n_threads)                mean loss and penalty; like mean_loss the same on any number of threads
///   mean_loss(weights, n_threads)            without the penalty
///   loss_gradient(weights, out, n_threads)   of the mean loss; the same for the same number of threads
///   check_weights(weights)                   throws Error(config) unless there is one for every parameter
template <typename F>
concept GradientObjective =
    requires(const F& f, std::span<const typename F::Real> weights, std::span<double> out, std::size_t n_threads) {
      requires RealType<typename F::Real>;
      { f.X().rows() } -> std::convertible_to<std::size_t>;
      { f.n_parameters() } -> std::same_as<std::size_t>;
      { f.value(weights, n_threads) } -> std::same_as<double>;
      { f.mean_loss(weights, n_threads) } -> std::same_as<double>;
      f.loss_gradient(weights, out, n_threads);
      f.check_weights(weights);
    };

/// One thread's way to the weights.
///
///   evaluate(i, seen, with_loss)              fills the residual of sample i at the weights as they are, and returns
///                                             its loss, without its sample weight, if asked for (else anything)
///   descend(i, seen, step, phase)             one step on sample i, with its share of the penalty where that is due;
///                                             `phase` is penalty_phase (penalty.hpp)
///   descend(i, seen, step, phase, features)   that part of it
template <typename Access, typename Real>
concept SampleAccess = requires(const Access& access, std::size_t i, std::span<Real> residual,
                                std::span<const Real> seen, Real step, Features features) {
  { access.evaluate(i, residual, true) } -> std::same_as<Real>;
  access.descend(i, seen, step, i);
  access.descend(i, seen, step, i, features);
};

template <typename Kernel>
concept SampleKernel = requires(const Kernel& kernel, std::span<typename Kernel::Real> weights, Exclusive& alone,
                                Racy& racy, decltype(std::declval<const Kernel&>().residual())& seen) {
  std::span<typename Kernel::Real>(seen);
  { kernel.access(weights, alone) } -> SampleAccess<typename Kernel::Real>;
  { kernel.access(weights, racy) } -> SampleAccess<typename Kernel::Real>;
};

/// An objective of which a step needs one sample. Beside the kernels,
///
///   residual_size()                   numbers of a residual
///   parameters_per_feature()          weights that one entry of a row touches, which is what a step costs
///   feature_ranges(n)                 the edges of n ranges of features with about as many entries each
///   has_intercept()                   whether every sample reads and writes parameters that belong to no feature
///   ordered(), inverse_frequency(j)   whether features are numbered by falling frequency, and their weights lie in
///                                     that order, so many a feature; and n / (rows that hold feature j)
template <typename F>
concept SampleObjective = GradientObjective<F> && requires(const F& f, std::size_t j) {
  { f.residual_size() } -> std::same_as<std::size_t>;
  { f.parameters_per_feature() } -> std::same_as<std::size_t>;
  { f.sample_weight(j) } -> std::same_as<typename F::Real>;
  { f.inverse_frequency(j) } -> std::same_as<double>;
  { f.has_intercept() } -> std::same_as<bool>;
  { f.ordered() } -> std::same_as<bool>;
  f.feature_ranges(j);
  f.visit([](const SampleKernel auto& /*kernel*/) {});
  f.visit_evaluation([](const SampleKernel auto& /*kernel*/) {});
  f.visit_descent([](const SampleKernel auto& /*kernel*/) {});
};

}  // namespace dsgd
