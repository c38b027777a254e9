// The sum of the losses of many samples, in double precision.
#pragma once

#include <algorithm>  // for copy, max
#include <cmath>      // for abs, exp, log
#include <cstddef>    // for size_t
#include <span>       // for span
#include <vector>     // for vector

#include "dsgd/core/types.hpp"
#include "dsgd/objective/loss.hpp"

namespace dsgd {

/// Adds s times the loss at decision values z.
template <typename Loss>
class LossSum {
 public:
  LossSum(const Loss& loss, std::size_t n_outputs) : loss_(loss), wide_(n_outputs) {}

  template <RealType Real>
  void add(double s, std::span<const Real> z, Real y) {
    if constexpr (VectorLoss<Loss>) {
      std::ranges::copy(z, wide_.begin());
      sum_ += s * loss_.descend(std::span(wide_), static_cast<double>(y), true);
    } else {
      sum_ += s * loss_.value(static_cast<double>(z[0]), static_cast<double>(y));
    }
  }
  [[nodiscard]] double value() const { return sum_; }

 private:
  Loss loss_;
  std::vector<double> wide_;
  double sum_ = 0;
};

/// The logarithms of many factors are the logarithm of their product, which saves one for each
/// sample: with m = y z, log(1 + e^-m) = max(-m, 0) + log(1 + e^-|m|). A factor is between 1 and 2, so
/// that its rounding changes the loss of the sample by at most 1.1e-16.
template <>
class LossSum<Logistic> {
 public:
  LossSum(const Logistic& /*loss*/, std::size_t /*n_outputs*/) {}

  template <RealType Real>
  void add(double s, std::span<const Real> z, Real y) {
    if (s != 1) {
      sum_ += s * Logistic::value(static_cast<double>(z[0]), static_cast<double>(y));
      return;
    }
    const double margin = static_cast<double>(y) * static_cast<double>(z[0]);
    sum_ += std::max(-margin, 0.0);
    product_ *= 1 + std::exp(-std::abs(margin));
    if (++factors_ < kFactors) return;
    sum_ = value();
    product_ = 1;
    factors_ = 0;
  }
  [[nodiscard]] double value() const { return sum_ + std::log(product_); }

 private:
  static constexpr std::size_t kFactors = 512;  // their product is at most 2^512

  double sum_ = 0;
  double product_ = 1;
  std::size_t factors_ = 0;
};

}  // namespace dsgd
