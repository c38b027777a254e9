// The objective of k-means: the mean squared quantisation error,
//
//   E(w) = (1/n) sum_i s_i min_c ||x_i - w_c||^2 / 2,
//
// whose gradient in the centre w_c is the mean over the rows of s_i (w_c - x_i), of those rows that w_c is nearest to.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for int32_t
#include <span>     // for span
#include <vector>   // for vector

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/types.hpp"
#include "dsgd/objective/output_weights.hpp"

namespace dsgd {

/// The centres as they are, for one thread to look for the nearest. They lie feature by feature, as the weights of a
/// linear model of as many decision values: ||x - w_c||^2 / 2 = ||x||^2 / 2 + h_c - w_c.x, h_c = ||w_c||^2 / 2.
template <RealType Real>
class Centres {
 public:
  Centres(std::span<const Real> weights, std::size_t n_clusters)
      : weights_(weights, n_clusters, false, policy_), halves_(n_clusters), z_(n_clusters) {
    for (std::size_t j = 0; j < weights.size(); j += n_clusters) {
      for (std::size_t c = 0; c < n_clusters; ++c) halves_[c] += weights[j + c] * weights[j + c] / 2;
    }
  }
  Centres(const Centres& other) = delete;
  Centres& operator=(const Centres& other) = delete;

  /// The nearest centre, the first of equals; `distance` becomes half of its squared distance less ||x||^2 / 2.
  template <typename Row>
  [[nodiscard]] std::size_t nearest(const Row& x, Real& distance) {
    weights_.products(x, std::span(z_));
    std::size_t best = 0;
    distance = halves_[0] - z_[0];
    for (std::size_t c = 1; c < z_.size(); ++c) {
      const Real candidate = halves_[c] - z_[c];
      if (candidate < distance) {
        distance = candidate;
        best = c;
      }
    }
    return best;
  }
  template <typename Row>
  [[nodiscard]] std::size_t nearest(const Row& x) {
    Real distance;
    return nearest(x, distance);
  }

 private:
  Exclusive policy_;
  OutputWeights<const Real, Exclusive> weights_;
  std::vector<Real> halves_;
  std::vector<Real> z_;
};

template <typename DataT>
class QuantisationObjective {
 public:
  using Data = DataT;
  using Real = typename Data::Real;

  /// `sample_weight` may be empty: every s_i is 1. Throws Error(data) when lengths differ, Error(config) for no cluster.
  QuantisationObjective(Data X, std::span<const Real> sample_weight, std::size_t n_clusters);

  [[nodiscard]] const Data& X() const { return X_; }
  [[nodiscard]] Real sample_weight(std::size_t i) const { return sample_weight_.empty() ? Real{1} : sample_weight_[i]; }
  [[nodiscard]] std::size_t n_clusters() const { return n_clusters_; }
  [[nodiscard]] std::size_t n_parameters() const { return X_.features() * n_clusters_; }

  /// E(w), in double precision: an exact reduction whose value does not depend on the number of threads.
  [[nodiscard]] double value(std::span<const Real> weights, std::size_t n_threads) const;
  /// The same: there is no penalty.
  [[nodiscard]] double mean_loss(std::span<const Real> weights, std::size_t n_threads) const {
    return value(weights, n_threads);
  }
  /// The gradient of E; the same for the same number of threads.
  void loss_gradient(std::span<const Real> weights, std::span<double> out, std::size_t n_threads) const;

  /// The number of the nearest centre of every row.
  void assign(std::span<const Real> weights, std::span<std::int32_t> out, std::size_t n_threads) const;

  /// Throws Error(config) unless there is one weight for every parameter.
  void check_weights(std::span<const Real> weights) const;

 private:
  Data X_;
  std::span<const Real> sample_weight_;
  std::size_t n_clusters_;
};

}  // namespace dsgd
