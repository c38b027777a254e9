// Mini-batch k-means as ASGD has it (Keuper, Pfreundt 2015, section 4), with the sign of its gradient mended:
//
//   for t = 1, 2, ...:   draw a batch M of b rows
//                        for i in M:   a_i = argmin_c ||x_i - w_c||
//                        w_c <- w_c - f_c (w_c - mean of the x_i with a_i = c),   f_c = min(1, step_t n_c / b)
//
// where n_c is the number of those rows, or the sum of their weights s_i: a step along the gradient, cut where it would
// go beyond the mean of its rows. With b = n and steps as long as can be it is that of Lloyd (1982).
#include "dsgd/solver/kmeans.hpp"

#include <algorithm>  // for clamp, fill, max, min
#include <numeric>    // for accumulate
#include <utility>    // for move

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/data/matrix.hpp"
#include "dsgd/data/squared_norms.hpp"

namespace dsgd {
namespace {

/// Products of an entry and a centre in a batch that are worth another thread.
constexpr std::size_t kThreadProducts = 400'000;
/// Rows whose nearest centres a thread looks for before it asks for more.
constexpr std::size_t kBlockRows = 64;

/// The rows of a batch, summed by their nearest centres.
template <typename Data>
class Batch {
 public:
  using Real = typename Data::Real;

  Batch(const QuantisationObjective<Data>& objective, std::size_t n_threads)
      : objective_(objective),
        m_(objective.n_clusters()),
        threads_(n_threads),
        held_(m_),
        sums_(objective.n_parameters()) {}

  void take(std::size_t row) { rows_.push_back(row); }
  [[nodiscard]] std::size_t size() const { return rows_.size(); }

  /// Looks for the nearest centres, and returns the sum of the losses if asked for.
  double assign(std::span<const Real> centres, bool with_loss) {
    nearest_.resize(rows_.size());
    losses_.assign((rows_.size() + kBlockRows - 1) / kBlockRows, 0);
    parallel_blocks(rows_.size(), kBlockRows, threads_, [&](std::size_t block, std::size_t begin, std::size_t end) {
      Centres<Real> look(centres, m_);
      for (std::size_t k = begin; k < end; ++k) {
        const auto x = objective_.X().row(rows_[k]);
        Real distance;
        nearest_[k] = look.nearest(x, distance);
        if (!with_loss) continue;
        const double half = squared_norm(x) / 2 + static_cast<double>(distance);
        losses_[block] += static_cast<double>(objective_.sample_weight(rows_[k])) * std::max(half, 0.0);
      }
    });
    std::ranges::fill(held_, 0);
    for (std::size_t k = 0; k < rows_.size(); ++k) {
      held_[nearest_[k]] += static_cast<double>(objective_.sample_weight(rows_[k]));
    }
    return std::accumulate(losses_.begin(), losses_.end(), 0.0);
  }

  /// Moves the centres by `share` of the gradient of each row, every thread those of its range of features.
  template <typename Policy>
  void step(std::span<Real> centres, double share, Policy& policy) {
    parallel_region(threads_, [&](std::size_t thread) {
      const std::size_t n_features = objective_.X().features();
      const std::size_t low = n_features * thread / threads_;
      const std::size_t high = n_features * (thread + 1) / threads_;
      for (std::size_t c = 0; c < m_; ++c) {
        std::ranges::fill(std::span(sums_).subspan(c * n_features + low, high - low), 0);
      }
      for (std::size_t k = 0; k < rows_.size(); ++k) {
        const auto row = objective_.X().row(rows_[k]);
        add(threads_ == 1 ? row : row.between(low, high), nearest_[k],
            static_cast<double>(objective_.sample_weight(rows_[k])));
      }
      for (std::size_t c = 0; c < m_; ++c) {
        const double held = held_[c];
        if (held == 0) continue;
        const double part = std::min(1.0, share * held);
        for (std::size_t j = low; j < high; ++j) {
          const double mean = sums_[c * n_features + j] / held;
          policy.update(centres[j * m_ + c], [&](Real old) {
            const auto from = static_cast<double>(old);
            return static_cast<Real>(part < 1 ? from + part * (mean - from) : mean);
          });
        }
      }
    });
    rows_.clear();
  }

 private:
  template <typename Row>
  void add(const Row& x, std::size_t c, double factor) {
    double* const sum = sums_.data() + c * objective_.X().features();
    const std::size_t size = x.size();
    if constexpr (Row::kContiguous) {
      if (size == 0) return;
      double* const from = sum + x.index(0);
#pragma omp simd
      for (std::size_t k = 0; k < size; ++k) from[k] += factor * static_cast<double>(x.value(k));
    } else {
      for (std::size_t k = 0; k < size; ++k) sum[x.index(k)] += factor * static_cast<double>(x.value(k));
    }
  }

  const QuantisationObjective<Data>& objective_;
  std::size_t m_;
  std::size_t threads_;
  std::vector<std::size_t> rows_;
  std::vector<std::size_t> nearest_;
  std::vector<double> losses_;  // of blocks of rows
  std::vector<double> held_;    // by each centre: the weight of its rows
  std::vector<double> sums_;    // of the rows of each centre, centre by centre: a dense row is added as it lies
};

template <typename Data>
std::size_t useful_threads(const QuantisationObjective<Data>& objective, std::size_t batch_size,
                           std::size_t n_threads) {
  const Data& X = objective.X();
  const std::size_t row = X.nonzeros() / std::max<std::size_t>(X.rows(), 1) * objective.n_clusters();
  return std::clamp<std::size_t>(batch_size * row / kThreadProducts, 1, n_threads);
}

/// One pass in steps of `batch_size` rows. Returns the mean loss of the rows as they were drawn, if `sum_loss`.
template <typename Data>
double pass_of(const QuantisationObjective<Data>& objective, std::span<typename Data::Real> weights, const Epoch& epoch,
               std::size_t batch_size, std::size_t n_threads, std::span<std::int64_t> visited, const Average& average,
               bool sum_loss) {
  using Real = typename Data::Real;
  const Data& X = objective.X();
  objective.check_weights(weights);
  check_visited(visited, X.rows());
  average.check(weights.size());
  batch_size = std::clamp<std::size_t>(batch_size, 1, X.rows());
  const std::size_t threads = useful_threads(objective, batch_size, n_threads);
  if constexpr (Data::kSparse) {
    if (!X.canonical()) throw Error(ErrorCode::data, "mini-batches need sorted, distinct columns");
  }
  Batch<Data> batch(objective, threads);
  double losses = 0;
  std::size_t done = 0;
  const auto run = [&](auto policy) {
    const auto step = [&] {
      losses += batch.assign(weights, sum_loss);
      const double size = epoch.schedule.at(epoch.t(X.rows(), done), epoch.index);
      const std::size_t rows = batch.size();
      batch.step(weights, size / static_cast<double>(batch_size), policy);
      done += rows;
    };
    std::size_t position = 0;
    epoch.sampler(X.rows(), 0, 1).for_each(X, [&](std::size_t i) {
      if (!visited.empty()) visited[position++] = static_cast<std::int64_t>(i);
      batch.take(i);
      if (batch.size() == batch_size) step();
    });
    if (batch.size() > 0) step();
  };
  if (average.drift.empty()) {
    run(Exclusive{});
  } else {
    run(Averaged<Real>(weights, average, done));
  }
  return losses / static_cast<double>(std::max<std::size_t>(X.rows(), 1));
}

}  // namespace

template <typename Data>
double sgd_epoch(const QuantisationObjective<Data>& objective, std::span<typename Data::Real> weights,
                 const Epoch& epoch, std::span<std::int64_t> visited, const Average& average, bool sum_loss) {
  return pass_of(objective, weights, epoch, 1, 1, visited, average, sum_loss);
}

template <typename Data>
double minibatch_epoch(const QuantisationObjective<Data>& objective, std::span<typename Data::Real> weights,
                       const Epoch& epoch, std::size_t batch_size, std::size_t n_threads,
                       std::span<std::int64_t> visited, const Average& average, bool sum_loss) {
  return pass_of(objective, weights, epoch, batch_size, n_threads, visited, average, sum_loss);
}

template <typename Data>
KMeansHogwild<Data>::KMeansHogwild(const QuantisationObjective<Data>& objective, HogwildConfig config)
    : objective_(objective), config_(std::move(config)) {
  if (config_.write != "racy" && config_.write != "atomic") {
    throw Error(ErrorCode::config, "k-means has no write policy '" + config_.write + "'; use racy or atomic");
  }
}

/// One thread's share of an epoch.
template <typename Data>
template <typename Policy>
double KMeansHogwild<Data>::pass(std::span<Real> weights, const Epoch& epoch, std::size_t thread,
                                 Policy policy) const {
  const Data& X = objective_.X();
  Batch<Data> batch(objective_, 1);
  std::vector<Real> seen(weights.size());  // the centres as they were when the thread read them: plain memory
  double losses = 0;
  std::size_t done = 0;
  const auto step = [&] {
    for (std::size_t w = 0; w < seen.size(); ++w) seen[w] = Policy::load(weights[w]);
    losses += batch.assign(seen, config_.sum_loss);
    const double size = epoch.schedule.at(epoch.t(X.rows(), thread + done * config_.n_threads), epoch.index);
    done += batch.size();
    batch.step(weights, size / static_cast<double>(kBatchRows), policy);
  };
  epoch.sampler(X.rows(), thread, config_.n_threads).for_each(X, [&](std::size_t i) {
    batch.take(i);
    if (batch.size() == kBatchRows) step();
  });
  if (batch.size() > 0) step();
  return losses;
}

template <typename Data>
double KMeansHogwild<Data>::epoch(std::span<Real> weights, const Epoch& epoch) {
  objective_.check_weights(weights);
  std::vector<double> losses(config_.n_threads);  // each written once, by its thread
  parallel_region(config_.n_threads, [&](std::size_t thread) {
    if (config_.write == "atomic") {
      losses[thread] = pass(weights, epoch, thread, Atomic{});
    } else if (config_.n_threads > 1) {
      losses[thread] = pass(weights, epoch, thread, Racy{});
    } else {
      losses[thread] = pass(weights, epoch, thread, Exclusive{});
    }
  });
  const double sum = std::accumulate(losses.begin(), losses.end(), 0.0);
  return sum / static_cast<double>(std::max<std::size_t>(objective_.X().rows(), 1));
}

#define DSGD_INSTANTIATE(Data)                                                                                       \
  template double sgd_epoch(const QuantisationObjective<Data>&, std::span<Data::Real>, const Epoch&,                 \
                            std::span<std::int64_t>, const Average&, bool);                                          \
  template double minibatch_epoch(const QuantisationObjective<Data>&, std::span<Data::Real>, const Epoch&,           \
                                  std::size_t, std::size_t, std::span<std::int64_t>, const Average&, bool);          \
  template class KMeansHogwild<Data>;
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
