// The objective of k-means: the mean squared quantisation error,
//
//   E(w) = (1/n) sum_i s_i min_c ||x_i - w_c||^2 / 2,
//
// Its gradient in the centre w_c is 1/n times the sum of s_i (w_c - x_i) over the rows whose
// nearest centre is w_c.
#pragma once

#include <algorithm>  // for fill, max, min
#include <bit>        // for bit_cast
#include <cstddef>    // for size_t
#include <cstdint>    // for int32_t
#include <numeric>    // for accumulate
#include <span>       // for span
#include <vector>     // for vector

#include "dsgd/core/lanes.hpp"
#include "dsgd/core/types.hpp"

namespace dsgd {

/// The sum of `term(x_j, w_j)` over the entries of x.
template <typename Row, RealType Centre, typename Term>
[[nodiscard]] double sum_over(const Row& x, const Centre* w, const Term& term) {
  double sum[4] = {0, 0, 0, 0};
  for_lanes<4>(x.size(), [&](std::size_t lane, std::size_t k) {
    sum[lane] += term(static_cast<double>(x.value(k)), static_cast<double>(w[x.index(k)]));
  });
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/// ||x - w||^2 in double precision, where `norm` is ||w||^2. An entry that a sparse row does not
/// store is 0.
template <typename Row, RealType Centre>
[[nodiscard]] double squared_distance(const Row& x, std::span<const Centre> w, double norm) {
  if (Row::kContiguous || x.size() == w.size()) {
    return sum_over(x, w.data(), [](double x_j, double w_j) { return (x_j - w_j) * (x_j - w_j); });
  }
  // (x_j - w_j)^2 - w_j^2
  return std::max(0.0, norm + sum_over(x, w.data(), [](double x_j, double w_j) { return x_j * (x_j - 2 * w_j); }));
}

/// The groups of four entries of a dense row that are not all zero. Most pixels of an image are 0.
template <RealType Real>
class NonzeroGroups {
 public:
  /// Looks at every group of a row. Entries behind the last whole group are left out. There is no branch: processors
  /// cannot predict whether four pixels of an image are all 0.
  template <typename Row>
  void find(const Row& x) {
    first_.resize(x.size() / 4);
    n_ = 0;
    for (std::size_t k = 0; k + 4 <= x.size(); k += 4) {
      first_[n_] = k;
      const auto any = bits(x.value(k)) | bits(x.value(k + 1)) | bits(x.value(k + 2)) | bits(x.value(k + 3));
      n_ += any != 0 ? 1 : 0;
    }
  }

  /// The first entry of every group that is not all zero.
  [[nodiscard]] std::span<const std::size_t> found() const { return std::span(first_).first(n_); }

 private:
  [[nodiscard]] static BitsOf<Real> bits(Real value) { return std::bit_cast<BitsOf<Real>>(value); }

  std::vector<std::size_t> first_;
  std::size_t n_ = 0;
};

/// A copy of the centres, in which one thread looks for the nearest centre of a row. The parameters
/// lie feature by feature, like the weights of a linear model of n_clusters decision values. With
/// d_c = w_c - o, where o is the mean of the centres, rounded to `Real`,
///
///   ||x - w_c||^2 / 2 = ||x - o||^2 / 2 + h_c - d_c.x,   h_c = ||d_c||^2 / 2 + d_c.o,
///
/// so that the nearest centre has the smallest h_c - d_c.x. Without o, the distances of data far
/// from 0 would be small differences of large squares, and rounding would destroy them. The number
/// of d_c in memory is rounded up to a multiple of four, so that vectorised loops over them have no
/// remainder.
template <RealType Real>
class Centres {
 public:
  explicit Centres(std::size_t n_clusters) : n_(n_clusters), stride_((n_clusters + 3) / 4 * 4), z_(stride_) {}
  Centres(std::span<const Real> weights, std::size_t n_clusters) : Centres(n_clusters) { read(weights); }

  /// Copies the centres from `weights`.
  void read(std::span<const Real> weights) {
    const std::size_t n_features = weights.size() / n_;
    copy_.resize(n_features * stride_);
    middle_.assign(n_features, 0);
    halves_.assign(n_, 0);
    double* const halves = halves_.data();
    const double share = 1 / static_cast<double>(n_);
    for (std::size_t j = 0; j < n_features; ++j) {
      const Real* const w = weights.data() + j * n_;
      Real* const to = copy_.data() + j * stride_;
      double sum = 0;
      for (std::size_t c = 0; c < n_; ++c) sum += static_cast<double>(w[c]);
      middle_[j] = static_cast<Real>(sum * share);
      const auto middle = static_cast<double>(middle_[j]);
#pragma omp simd
      for (std::size_t c = 0; c < n_; ++c) {
        to[c] = static_cast<Real>(static_cast<double>(w[c]) - middle);
        const auto d = static_cast<double>(to[c]);
        halves[c] += d * (d / 2 + middle);
      }
    }
    norm_ = 0;
    for (const Real value : middle_) {
      const auto middle = static_cast<double>(value);
      norm_ += middle * middle;
    }
  }

  /// The nearest centre, or the first of several at equal distance. Sets `least` to its h_c -
  /// d_c.x.
  template <typename Row>
  [[nodiscard]] std::size_t nearest(const Row& x, double& least) {
    multiply(x);
    std::size_t best = 0;
    least = halves_[0] - static_cast<double>(z_[0]);
    for (std::size_t c = 1; c < n_; ++c) {
      const double candidate = halves_[c] - static_cast<double>(z_[c]);
      if (candidate < least) {
        least = candidate;
        best = c;
      }
    }
    return best;
  }
  template <typename Row>
  [[nodiscard]] std::size_t nearest(const Row& x) {
    double least;
    return nearest(x, least);
  }

  /// ||x - o||^2. For a dense row the differences have the precision of its entries, and their squares are added up in
  /// it for a few hundred entries at a time.
  template <typename Row>
  [[nodiscard]] double from_middle(const Row& x) const {
    if constexpr (Row::kContiguous) {
      constexpr std::size_t kPart = 512;
      double total = 0;
      for (std::size_t begin = 0; begin < x.size(); begin += kPart) {
        Lanes<Real> sum{};
        for_lanes<sum.size()>(std::min(kPart, x.size() - begin), [&](std::size_t lane, std::size_t k) {
          const Real away = x.value(begin + k) - middle_[begin + k];
          sum[lane] += away * away;
        });
        total += std::accumulate(sum.begin(), sum.end(), 0.0);
      }
      return total;
    } else {
      return squared_distance(x, std::span<const Real>(middle_), norm_);
    }
  }

  /// The groups of the dense row of the last call of `nearest`.
  [[nodiscard]] std::span<const std::size_t> groups() const { return groups_.found(); }

 private:
  /// z_c <- d_c.x, four features at a time. Skips groups of four zeros of a dense row.
  template <typename Row>
  void multiply(const Row& x) {
    std::ranges::fill(z_, Real{0});
    const std::size_t whole = x.size() / 4 * 4;
    if constexpr (Row::kContiguous) {
      groups_.find(x);
      for (const std::size_t k : groups()) add_group(x, k);
    } else {
      for (std::size_t k = 0; k < whole; k += 4) add_group(x, k);
    }
    for (std::size_t k = whole; k < x.size(); ++k) {
      const Real v = x.value(k);
      const Real* const w = of(x.index(k));
      for (std::size_t c = 0; c < stride_; c += 4) {
#pragma omp simd
        for (std::size_t l = c; l < c + 4; ++l) z_[l] += w[l] * v;
      }
    }
  }

  template <typename Row>
  void add_group(const Row& x, std::size_t k) {
    Real* const z = z_.data();
    const Real v[4] = {x.value(k), x.value(k + 1), x.value(k + 2), x.value(k + 3)};
    const Real* const w[4] = {of(x.index(k)), of(x.index(k + 1)), of(x.index(k + 2)), of(x.index(k + 3))};
    for (std::size_t c = 0; c < stride_; c += 4) {
#pragma omp simd
      for (std::size_t l = c; l < c + 4; ++l) {
        z[l] += (w[0][l] * v[0] + w[1][l] * v[1]) + (w[2][l] * v[2] + w[3][l] * v[3]);
      }
    }
  }

  [[nodiscard]] const Real* of(std::size_t j) const { return copy_.data() + j * stride_; }

  std::size_t n_;
  std::size_t stride_;
  std::vector<Real> copy_;
  std::vector<Real> middle_;  // o
  std::vector<double> halves_;
  double norm_ = 0;  // ||o||^2
  std::vector<Real> z_;
  NonzeroGroups<Real> groups_;
};

template <typename DataT>
class QuantisationObjective {
 public:
  using Data = DataT;
  using Real = typename Data::Real;

  /// An empty `sample_weight` means that every s_i is 1. Throws Error(data) if lengths differ, and
  /// Error(config) if n_clusters is 0.
  QuantisationObjective(Data X, std::span<const Real> sample_weight, std::size_t n_clusters);

  [[nodiscard]] const Data& X() const { return X_; }
  [[nodiscard]] Real sample_weight(std::size_t i) const { return sample_weight_.empty() ? Real{1} : sample_weight_[i]; }
  [[nodiscard]] std::size_t n_clusters() const { return n_clusters_; }
  [[nodiscard]] std::size_t n_parameters() const { return X_.features() * n_clusters_; }

  /// E(w), in double precision. The value does not depend on the number of threads. Writes the number of the nearest
  /// centre of every row into `labels`, unless that is empty.
  [[nodiscard]] double value(std::span<const Real> weights, std::size_t n_threads,
                             std::span<std::int32_t> labels = {}) const;
  /// E(w): there is no penalty.
  [[nodiscard]] double mean_loss(std::span<const Real> weights, std::size_t n_threads) const {
    return value(weights, n_threads);
  }
  /// The gradient of E. It is the same, bit for bit, for the same number of threads.
  void loss_gradient(std::span<const Real> weights, std::span<double> out, std::size_t n_threads) const;

  /// Writes the number of the nearest centre of every row into `out`.
  void assign(std::span<const Real> weights, std::span<std::int32_t> out, std::size_t n_threads) const;

  /// Writes the distance of every row from every centre into `out`, n_clusters numbers per row. It
  /// takes no differences of large squares.
  void distances(std::span<const Real> weights, std::span<double> out, std::size_t n_threads) const;

  /// Throws Error(config) unless there is one weight for every parameter.
  void check_weights(std::span<const Real> weights) const;

 private:
  Data X_;
  std::span<const Real> sample_weight_;
  std::size_t n_clusters_;
};

}  // namespace dsgd
