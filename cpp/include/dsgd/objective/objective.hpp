// The interface between models and solvers (docs/design/objectives.md). A solver knows a model only
// as an objective.
//
// The parameters of an objective are one flat vector. Only the objective knows their layout. Every
// objective is a GradientObjective: it has a value and exact gradients, which is all that gradient
// descent over all rows needs. Stochastic solvers need a SampleObjective. Its `visit` gives a
// kernel, which has the loss and the penalty as static types, and a kernel gives each thread its
// access to the weights:
//
//   objective.visit([&](const auto& kernel) {
//     const auto access = kernel.access(weights, policy);     // of one thread, by its write policy
//     auto seen = kernel.residual();                          // memory for a residual
//     const Real loss = access.evaluate(i, seen, with_loss);  // reads the weights
//     access.descend(i, seen, step, phase);                   // writes the weights
//   });
//
// A step has two halves, `evaluate` and `descend`, so that a mini-batch can evaluate all its
// samples at the same weights. A residual has `residual_size()` numbers; for a linear model they
// are the derivatives of the loss by the decision values. A loop that only evaluates takes its
// kernel from `visit_evaluation`, and a loop that only descends from `visit_descent`. These two
// distinguish fewer types, so that fewer loops are compiled.
#pragma once

#include <concepts>  // for convertible_to, same_as
#include <cstddef>   // for size_t
#include <span>      // for span
#include <utility>   // for declval

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/types.hpp"

namespace dsgd {

/// The part of the parameters that one of several threads writes: those of the features [begin,
/// end) and, if begin is 0, also those that belong to no feature.
struct Features {
  std::size_t begin;
  std::size_t end;
};

/// Value, exact gradient and layout of a model's objective on the rows of X.
///
///   value(weights, n_threads)                the mean loss and the penalty (*)
///   mean_loss(weights, n_threads)            the mean loss without the penalty (*)
///   loss_gradient(weights, out, n_threads)   the gradient of the mean loss (**)
///   check_weights(weights)                   throws Error(config) for a wrong number of weights
///
/// (*) The same bits on any number of threads. (**) The same bits for the same number of threads.
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

/// One thread's access to the weights.
///
///   evaluate(i, seen, with_loss)              writes the residual of sample i at the present
///                                             weights into `seen`. Returns the sample's loss,
///                                             without its sample weight, if `with_loss`;
///                                             otherwise any number
///   descend(i, seen, step, phase)             makes one step on sample i, with its share of the
///                                             penalty if that is due at this phase
///                                             (penalty_phase in penalty.hpp)
///   descend(i, seen, step, phase, features)   makes the part of this step that writes `features`
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

/// An objective that allows steps on single samples. Beside the kernels it has:
///
///   residual_size()            the number of elements of a residual
///   parameters_per_feature()   the number of weights that a step changes per entry of a row
///   feature_ranges(n)          the edges of n ranges of features with about equally many entries
///   has_intercept()            whether every sample uses parameters that belong to no feature
///   ordered()                  whether features are numbered by falling frequency. The weights of
///                              a feature are then neighbours, and features lie in this order
///   inverse_frequency(j)       n / (rows that hold feature j)
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
