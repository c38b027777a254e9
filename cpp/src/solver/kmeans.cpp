// Mini-batch k-means as in ASGD (Keuper, Pfreundt 2015, section 4), with the sign of its gradient
// corrected:
//
//   for t = 1, 2, ...:   draw a batch M of b rows
//                        for i in M:   a_i = argmin_c ||x_i - w_c||
//                        w_c <- w_c - f_c (w_c - mean of the x_i with a_i = c),
//                               f_c = min(1, step_t n_c / b)
//
// where n_c is the sum of the weights s_i of the rows with a_i = c. This is a step along the
// gradient that stops at the mean of the centre's rows. With b = n and a step size of infinity it is
// the step of Lloyd (1982).
#include "dsgd/solver/kmeans.hpp"

#include <algorithm>  // for clamp, copy, fill, lower_bound, max, min
#include <cstddef>    // for ptrdiff_t, size_t
#include <numeric>    // for accumulate
#include <utility>    // for declval, move

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/check_size.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/data/matrix.hpp"
#include "dsgd/solver/rows.hpp"

namespace dsgd {
namespace {

/// The number of products of an entry and a centre that is worth one thread more for a batch.
constexpr std::size_t kThreadProducts = 400'000;
/// Entries of the rows that several threads take in together: few enough to lie in caches when they are added.
constexpr std::size_t kChunkEntries = std::size_t{1} << 20U;
constexpr std::size_t kLeastChunkRows = 16;

/// The entries of a row that the matrix stores, in the mean.
template <typename Data>
std::size_t row_entries(const Data& X) {
  return X.nonzeros() / std::max<std::size_t>(X.rows(), 1);
}

/// The sums of the rows of a batch, by nearest centre. One thread adds every row when it is taken
/// in. Several threads add a chunk of rows when it is complete. The sums are the same, bit for bit.
template <typename Data>
class Batch {
 public:
  using Real = typename Data::Real;
  static constexpr bool kContiguous = decltype(std::declval<const Data&>().row(0))::kContiguous;

  Batch(const QuantisationObjective<Data>& objective, std::size_t n_threads, bool sum_loss)
      : objective_(objective),
        m_(objective.n_clusters()),
        threads_(n_threads),
        sum_loss_(sum_loss),
        chunk_rows_(std::max(kChunkEntries / std::max<std::size_t>(row_entries(objective.X()), 1), kLeastChunkRows)),
        look_(m_),
        held_(m_),
        sums_(objective.n_parameters()) {}

  [[nodiscard]] std::size_t size() const { return size_; }
  /// The sum of the losses of all rows so far, each at the centres at the beginning of its batch.
  [[nodiscard]] double losses() const { return losses_; }

  /// Takes in a row. The first row of a batch calls `centres()`; all rows of the batch are
  /// evaluated at these centres.
  template <typename See>
  void take(std::size_t row, const See& centres) {
    if (size_ == 0) begin(centres());
    ++size_;
    if (threads_ > 1) {
      chunk_.push_back({.row = row});
      if (chunk_.size() == chunk_rows_) add_chunk([](std::size_t /*low*/, std::size_t /*high*/) {});
      return;
    }
    const Taken taken = nearest(look_, row);
    count(taken);
    add(objective_.X().row(row), look_.groups(), taken.centre, weight(row));
  }

  /// Moves the centres by `share` times the sum of the rows' gradients. Every thread moves the
  /// coordinates of its range of features.
  template <typename Policy>
  void step(std::span<Real> centres, double share, Policy& policy) {
    add_chunk([&](std::size_t low, std::size_t high) {
      const std::size_t n_features = objective_.X().features();
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
    size_ = 0;
  }

 private:
  struct Taken {
    std::size_t row = 0;
    std::size_t centre = 0;  // the nearest
    double loss = 0;         // if `sum_loss`
    std::size_t n_groups = 0;
  };

  void begin(std::span<const Real> centres) {
    look_.read(centres);
    std::ranges::fill(held_, 0);
    std::ranges::fill(sums_, 0);
  }

  [[nodiscard]] double weight(std::size_t row) const { return static_cast<double>(objective_.sample_weight(row)); }

  /// Finds the nearest centre of a row, and its loss if `sum_loss`.
  Taken nearest(Centres<Real>& look, std::size_t row) const {
    const auto x = objective_.X().row(row);
    double least;
    Taken taken{.row = row, .centre = look.nearest(x, least), .n_groups = look.groups().size()};
    if (sum_loss_) taken.loss = weight(row) * std::max(look.from_middle(x) / 2 + least, 0.0);
    return taken;
  }

  void count(const Taken& taken) {
    losses_ += taken.loss;
    held_[taken.centre] += weight(taken.row);
  }

  /// Adds the rows of a chunk. Every thread finds the nearest centres of some rows. Then every thread adds a range of
  /// the features of all rows, of which it reads only the groups that were not zero, and calls `then(low, high)` with
  /// its range.
  template <typename Then>
  void add_chunk(const Then& then) {
    const std::size_t n_features = objective_.X().features();
    if (threads_ == 1) return then(0, n_features);
    const std::size_t most = kContiguous ? n_features / 4 : 0;  // groups of a row
    groups_.resize(chunk_.size() * most);
    parallel_region(threads_, [&](std::size_t thread) {
      Centres<Real> look = look_;
      const std::size_t end = chunk_.size() * (thread + 1) / threads_;
      for (std::size_t k = chunk_.size() * thread / threads_; k < end; ++k) {
        if (k + 1 < end) objective_.X().prefetch(chunk_[k + 1].row);
        chunk_[k] = nearest(look, chunk_[k].row);
        std::ranges::copy(look.groups(), groups_.begin() + static_cast<std::ptrdiff_t>(k * most));
      }
    });
    for (const Taken& taken : chunk_) count(taken);
    parallel_region(threads_, [&](std::size_t thread) {
      // A range begins with a group, and the last one has the features behind the last group.
      const std::size_t low = n_features / 4 * thread / threads_ * 4;
      const std::size_t high = thread + 1 < threads_ ? n_features / 4 * (thread + 1) / threads_ * 4 : n_features;
      for (std::size_t k = 0; k < chunk_.size(); ++k) {
        if (k + 1 < chunk_.size()) objective_.X().prefetch(chunk_[k + 1].row);
        const auto groups = std::span<const std::size_t>(groups_).subspan(k * most, chunk_[k].n_groups);
        const auto first = std::ranges::lower_bound(groups, low);
        const auto x = objective_.X().row(chunk_[k].row);
        add(kContiguous ? x : x.between(low, high), std::span(first, std::ranges::lower_bound(groups, high)),
            chunk_[k].centre, weight(chunk_[k].row), high == n_features);
      }
      then(low, high);
    });
    chunk_.clear();
  }

  /// Adds a row to the sum of the centre c: of a dense row the `groups` of four entries and, with `tail`, those behind
  /// the last group.
  template <typename Row>
  void add(const Row& x, std::span<const std::size_t> groups, std::size_t c, double factor, bool tail = true) {
    const std::size_t size = x.size();
    double* const sum = sums_.data() + c * objective_.X().features();
    if constexpr (Row::kContiguous) {
      for (const std::size_t k : groups) {
#pragma omp simd
        for (std::size_t l = k; l < k + 4; ++l) sum[l] += factor * static_cast<double>(x.value(l));
      }
      for (std::size_t k = size / 4 * 4; tail && k < size; ++k) sum[k] += factor * static_cast<double>(x.value(k));
    } else {
      for (std::size_t k = 0; k < size; ++k) sum[x.index(k)] += factor * static_cast<double>(x.value(k));
    }
  }

  const QuantisationObjective<Data>& objective_;
  std::size_t m_;
  std::size_t threads_;
  bool sum_loss_;
  std::size_t chunk_rows_;
  Centres<Real> look_;  // the centres at the beginning of the batch
  std::size_t size_ = 0;
  std::vector<Taken> chunk_;         // rows that several threads are still to add
  std::vector<std::size_t> groups_;  // of the rows of the chunk, from `NonzeroGroups`
  double losses_ = 0;
  std::vector<double> held_;  // by centre: the sum of the weights of its rows
  /// The sums of the rows of each centre. A centre lies in one piece, so that a dense row is added
  /// to it by a vector loop.
  std::vector<double> sums_;
};

template <typename Data>
std::size_t useful_threads(const QuantisationObjective<Data>& objective, std::size_t batch_size,
                           std::size_t n_threads) {
  const std::size_t row = row_entries(objective.X()) * objective.n_clusters();
  return std::clamp<std::size_t>(batch_size * row / kThreadProducts, 1, n_threads);
}

/// Throws Error(data) unless the columns of every row are sorted and distinct.
template <typename Data>
void check_columns(const Data& X) {
  if (!X.canonical()) throw Error(ErrorCode::data, "mini-batches need sorted, distinct columns");
}

/// One pass in steps of `batch_size` rows. Returns the mean loss of the rows, each at the centres
/// before its step, if `sum_loss`.
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
  check_columns(X);
  Batch<Data> batch(objective, threads, sum_loss);
  std::size_t done = 0;
  const auto run = [&](auto policy) {
    const auto step = [&] {
      const double size = epoch.schedule.at(epoch.t(X.rows(), done), epoch.index);
      const std::size_t rows = batch.size();
      batch.step(weights, size / static_cast<double>(batch_size), policy);
      done += rows;
    };
    std::size_t position = 0;
    epoch.sampler(X.rows(), 0, 1).for_each(X, [&](std::size_t i) {
      if (!visited.empty()) visited[position++] = static_cast<std::int64_t>(i);
      batch.take(i, [&] { return std::span<const Real>(weights); });
      if (batch.size() == batch_size) step();
    });
    if (batch.size() > 0) step();
  };
  if (average.drift.empty()) {
    run(Exclusive{});
  } else {
    run(Averaged<Real>(weights, average, done));
  }
  return batch.losses() / static_cast<double>(std::max<std::size_t>(X.rows(), 1));
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
void minibatch_step(const QuantisationObjective<Data>& objective, std::span<typename Data::Real> weights,
                    std::span<const std::int64_t> rows, double step, std::size_t batch_size, std::size_t /*index*/,
                    std::size_t n_threads) {
  using Real = typename Data::Real;
  objective.check_weights(weights);
  check_rows(rows, objective.X().rows());
  check_columns(objective.X());
  Batch<Data> batch(objective, useful_threads(objective, rows.size(), n_threads), false);
  for (const std::int64_t row : rows) {
    batch.take(static_cast<std::size_t>(row), [&] { return std::span<const Real>(weights); });
  }
  Exclusive policy;
  if (!rows.empty()) batch.step(weights, step / static_cast<double>(batch_size), policy);
}

template <typename Data>
void rows_gradient(const QuantisationObjective<Data>& objective, std::span<const typename Data::Real> weights,
                   std::span<const std::int64_t> rows, std::span<double> gradient) {
  using Real = typename Data::Real;
  objective.check_weights(weights);
  check_rows(rows, objective.X().rows());
  const std::size_t m = objective.n_clusters();
  check_size("gradient", gradient.size(), weights.size() + m);
  Centres<Real> look(weights, m);
  std::vector<double> held(m);
  for (const std::int64_t row : rows) {
    const auto i = static_cast<std::size_t>(row);
    const auto x = objective.X().row(i);
    const std::size_t c = look.nearest(x);
    const auto factor = static_cast<double>(objective.sample_weight(i));
    held[c] += factor;
    for (std::size_t k = 0; k < x.size(); ++k) gradient[x.index(k) * m + c] -= factor * static_cast<double>(x.value(k));
  }
  for (std::size_t w = 0; w < weights.size(); ++w) gradient[w] += held[w % m] * static_cast<double>(weights[w]);
  for (std::size_t c = 0; c < m; ++c) gradient[weights.size() + c] += held[c];
}

template <typename Data>
Hogwild<QuantisationObjective<Data>>::Hogwild(const QuantisationObjective<Data>& objective, HogwildConfig config)
    : objective_(objective), config_(std::move(config)) {
  if (config_.write != "racy" && config_.write != "atomic") {
    throw Error(ErrorCode::config, "k-means has no write policy '" + config_.write + "'; use racy or atomic");
  }
}

/// One thread's share of an epoch.
template <typename Data>
template <typename Policy>
double Hogwild<QuantisationObjective<Data>>::pass(std::span<Real> weights, const Epoch& epoch, Shares& shares,
                                                  std::size_t thread, Policy policy) const {
  const Data& X = objective_.X();
  const std::size_t batch_size = std::clamp<std::size_t>(X.rows(), 1, kBatchRows);
  Batch<Data> batch(objective_, 1, config_.sum_loss);
  std::vector<Real> seen(weights.size());  // a private copy
  const auto see = [&] {
    for (std::size_t w = 0; w < seen.size(); ++w) seen[w] = Policy::load(weights[w]);
    return std::span<const Real>(seen);
  };
  std::size_t first = 0;  // t of the first row of the batch
  const auto step = [&] {
    const double size = epoch.schedule.at(first, epoch.index);
    batch.step(weights, size / static_cast<double>(batch_size), policy);
  };
  shares.for_each(X, thread, [&](std::size_t i, std::size_t t) {
    if (batch.size() == 0) first = t;
    batch.take(i, see);
    if (batch.size() == batch_size) step();
  });
  if (batch.size() > 0) step();
  return batch.losses();
}

template <typename Data>
double Hogwild<QuantisationObjective<Data>>::epoch(std::span<Real> weights, const Epoch& epoch) {
  objective_.check_weights(weights);
  std::vector<double> losses(config_.n_threads);  // one per thread, written once
  Shares shares(epoch, objective_.X().rows(), config_.n_threads);
  parallel_region(config_.n_threads, [&](std::size_t thread) {
    if (config_.write == "atomic") {
      losses[thread] = pass(weights, epoch, shares, thread, Atomic{});
    } else if (config_.n_threads > 1) {
      losses[thread] = pass(weights, epoch, shares, thread, Racy{});
    } else {
      losses[thread] = pass(weights, epoch, shares, thread, Exclusive{});
    }
  });
  const double sum = std::accumulate(losses.begin(), losses.end(), 0.0);
  return sum / static_cast<double>(std::max<std::size_t>(objective_.X().rows(), 1));
}

#define DSGD_INSTANTIATE(Data)                                                                                \
  template double sgd_epoch(const QuantisationObjective<Data>&, std::span<Data::Real>, const Epoch&,          \
                            std::span<std::int64_t>, const Average&, bool);                                   \
  template double minibatch_epoch(const QuantisationObjective<Data>&, std::span<Data::Real>, const Epoch&,    \
                                  std::size_t, std::size_t, std::span<std::int64_t>, const Average&, bool);   \
  template void minibatch_step(const QuantisationObjective<Data>&, std::span<Data::Real>,                     \
                               std::span<const std::int64_t>, double, std::size_t, std::size_t, std::size_t); \
  template void rows_gradient(const QuantisationObjective<Data>&, std::span<const Data::Real>,                \
                              std::span<const std::int64_t>, std::span<double>);                              \
  template class Hogwild<QuantisationObjective<Data>>;  // NOLINT(bugprone-macro-parentheses)
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
