#include "dsgd/objective/quantisation.hpp"

#include <cmath>   // for sqrt
#include <string>  // for to_string
#include <vector>  // for vector

#include "dsgd/core/check_size.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/data/matrix.hpp"
#include "dsgd/objective/objective.hpp"
#include "dsgd/objective/row_sum.hpp"

namespace dsgd {
namespace {

constexpr std::size_t kBlockRows = 1024;

/// The centres in double precision, one after the other in memory, for exact distances.
template <typename Real>
struct ByCentre {
  ByCentre(std::span<const Real> weights, std::size_t m)
      : n_features(weights.size() / m), values(weights.size()), norms(m) {
    for (std::size_t w = 0; w < weights.size(); ++w) {
      const auto value = static_cast<double>(weights[w]);
      values[w % m * n_features + w / m] = value;
      norms[w % m] += value * value;
    }
  }

  template <typename Row>
  [[nodiscard]] double squared_distance(const Row& x, std::size_t c) const {
    return dsgd::squared_distance(x, std::span<const double>(values).subspan(c * n_features, n_features), norms[c]);
  }

  std::size_t n_features;
  std::vector<double> values;
  std::vector<double> norms;
};

}  // namespace

template <typename Data>
QuantisationObjective<Data>::QuantisationObjective(Data X, std::span<const Real> sample_weight, std::size_t n_clusters)
    : X_(X), sample_weight_(sample_weight), n_clusters_(n_clusters) {
  if (n_clusters == 0) throw Error(ErrorCode::config, "there must be at least one cluster");
  if (!sample_weight.empty() && sample_weight.size() != X.rows()) {
    throw Error(ErrorCode::data, "X has " + std::to_string(X.rows()) + " rows and sample_weight " +
                                     std::to_string(sample_weight.size()) + " elements");
  }
}

template <typename Data>
void QuantisationObjective<Data>::check_weights(std::span<const Real> weights) const {
  check_size("weights", weights.size(), n_parameters());
}

template <typename Data>
double QuantisationObjective<Data>::value(std::span<const Real> weights, std::size_t n_threads,
                                          std::span<std::int32_t> labels) const {
  check_weights(weights);
  if (!labels.empty()) check_size("labels", labels.size(), X_.rows());
  const ByCentre<Real> exact(weights, n_clusters_);
  std::vector<double> partial((X_.rows() + kBlockRows - 1) / kBlockRows);
  parallel_blocks(X_.rows(), kBlockRows, n_threads, [&](std::size_t block, std::size_t begin, std::size_t end) {
    Centres<Real> centres(weights, n_clusters_);
    for (std::size_t i = begin; i < end; ++i) {
      const auto x = X_.row(i);
      const std::size_t c = centres.nearest(x);
      partial[block] += static_cast<double>(sample_weight(i)) * exact.squared_distance(x, c);
      if (!labels.empty()) labels[i] = static_cast<std::int32_t>(c);
    }
  });
  double total = 0;
  for (const double sum : partial) total += sum;
  return total / (2 * static_cast<double>(X_.rows()));
}

template <typename Data>
void QuantisationObjective<Data>::assign(std::span<const Real> weights, std::span<std::int32_t> out,
                                         std::size_t n_threads) const {
  check_weights(weights);
  check_size("out", out.size(), X_.rows());
  parallel_blocks(X_.rows(), kBlockRows, n_threads, [&](std::size_t /*block*/, std::size_t begin, std::size_t end) {
    Centres<Real> centres(weights, n_clusters_);
    for (std::size_t i = begin; i < end; ++i) out[i] = static_cast<std::int32_t>(centres.nearest(X_.row(i)));
  });
}

template <typename Data>
void QuantisationObjective<Data>::distances(std::span<const Real> weights, std::span<double> out,
                                            std::size_t n_threads) const {
  check_weights(weights);
  check_size("out", out.size(), X_.rows() * n_clusters_);
  const ByCentre<Real> exact(weights, n_clusters_);
  parallel_blocks(X_.rows(), kBlockRows, n_threads, [&](std::size_t /*block*/, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      for (std::size_t c = 0; c < n_clusters_; ++c) {
        out[i * n_clusters_ + c] = std::sqrt(exact.squared_distance(X_.row(i), c));
      }
    }
  });
}

template <typename Data>
void QuantisationObjective<Data>::loss_gradient(std::span<const Real> weights, std::span<double> out,
                                                std::size_t n_threads) const {
  check_size("out", out.size(), n_parameters());
  std::vector<std::int32_t> nearest(X_.rows());
  assign(weights, nearest, n_threads);
  const std::size_t m = n_clusters_;
  const double share = 1 / static_cast<double>(X_.rows());
  add_rows(X_, n_threads, -share, out, [&](std::size_t /*thread*/) {
    return [&](std::size_t i, const auto& x, std::span<double> sum) mutable {
      const auto c = static_cast<std::size_t>(nearest[i]);
      const auto factor = static_cast<double>(sample_weight(i));
      for (std::size_t k = 0; k < x.size(); ++k) sum[x.index(k) * m + c] += factor * static_cast<double>(x.value(k));
    };
  });
  std::vector<double> held(m);  // by centre: the share of the rows to which it is nearest
  for (std::size_t i = 0; i < nearest.size(); ++i) {
    held[static_cast<std::size_t>(nearest[i])] += static_cast<double>(sample_weight(i)) * share;
  }
  for (std::size_t w = 0; w < out.size(); ++w) out[w] += held[w % m] * static_cast<double>(weights[w]);
}

static_assert(GradientObjective<QuantisationObjective<CsrFloat32>>);

#define DSGD_INSTANTIATE(Data) template class QuantisationObjective<Data>;
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
