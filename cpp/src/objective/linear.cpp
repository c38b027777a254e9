#include "dsgd/objective/linear.hpp"

#include <algorithm>    // for clamp, copy, max, min
#include <cmath>        // for floor
#include <cstdint>      // for int32_t, uint32_t, uint64_t
#include <limits>       // for numeric_limits
#include <type_traits>  // for remove_cvref_t

#include "dsgd/core/atomic.hpp"
#include "dsgd/core/check_size.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/objective/loss_sum.hpp"
#include "dsgd/objective/row_sum.hpp"

namespace dsgd {
namespace {

constexpr std::size_t kBlockRows = 4096;

/// Adds the number of occurrences of column j to counts[j]. Each cache line of columns is
/// prefetched 64 lines ahead. Without the prefetch the counting took twice as long: the additions
/// at random places keep the processor from reading ahead.
template <typename Count>
void add_counts(std::span<const std::int32_t> columns, std::span<Count> counts) {
  constexpr std::size_t kLine = 64 / sizeof(std::int32_t);
  constexpr std::size_t kAhead = 64 * kLine;
  for (std::size_t begin = 0; begin < columns.size(); begin += kLine) {
    __builtin_prefetch(&columns[std::min(begin + kAhead, columns.size() - 1)]);
    const std::size_t end = std::min(begin + kLine, columns.size());
    for (std::size_t k = begin; k < end; ++k) ++counts[static_cast<std::size_t>(columns[k])];
  }
}

/// n / d_j for every feature, where d_j is the number of stored entries in column j; a `Count` is
/// wide enough for it. For a feature without entries d_j is taken as 1, so that no infinity
/// appears; no step visits it.
template <typename Count, typename Data>
std::vector<typename Data::Real> inverse_frequencies(const Data& X, std::size_t n_threads) {
  using Real = typename Data::Real;
  // Each thread counts the rows of one block, in counts of its own. The number of threads is
  // limited so that the counts do not take more memory than the data.
  const std::size_t wanted = X.nonzeros() / std::max<std::size_t>(X.features(), 1);
  const std::size_t threads = std::clamp<std::size_t>(wanted, 1, n_threads);
  std::vector<std::vector<Count>> counts(threads);
  parallel_region(threads, [&](std::size_t thread) {
    counts[thread].resize(X.features());
    const auto columns = X.columns(X.rows() * thread / threads, X.rows() * (thread + 1) / threads);
    add_counts(columns, std::span(counts[thread]));
  });
  std::vector<Real> inverse(X.features());
  const auto n = static_cast<double>(X.rows());
  for (std::size_t j = 0; j < X.features(); ++j) {
    std::uint64_t degree = 0;
    for (const auto& count : counts) degree += count[j];
    inverse[j] = static_cast<Real>(n / static_cast<double>(std::max<std::uint64_t>(degree, 1)));
  }
  return inverse;
}

}  // namespace

template <typename Data>
LinearObjective<Data>::LinearObjective(Data X, std::span<const Real> y, std::span<const Real> sample_weight,
                                       LinearConfig config, std::size_t n_threads,
                                       std::span<const Real> inverse_frequency)
    : X_(X), y_(y), sample_weight_(sample_weight), config_(std::move(config)), n_threads_(n_threads) {
  if (config_.loss.n_outputs < 1) {
    throw Error(ErrorCode::config, "loss '" + config_.loss.name + "' needs a decision value at least");
  }
  visit_outputs(config_.loss, [](const auto& /*loss*/) {});  // refuses an unknown name
  check_target();
  if (!sample_weight_.empty()) check_length("sample_weight", sample_weight_.size());
  if (inverse_frequency.empty()) return;
  check_size("inverse_frequency", inverse_frequency.size(), Data::kSparse ? X_.features() : 0);
  std::call_once(frequencies_->once,
                 [&] { frequencies_->inverse.assign(inverse_frequency.begin(), inverse_frequency.end()); });
}

template <typename Data>
const std::vector<typename Data::Real>& LinearObjective<Data>::counted() const {
  if constexpr (Data::kSparse) {
    std::call_once(frequencies_->once, [&] {
      frequencies_->inverse = X_.nonzeros() <= std::numeric_limits<std::uint32_t>::max()
                                  ? inverse_frequencies<std::uint32_t>(X_, n_threads_)
                                  : inverse_frequencies<std::uint64_t>(X_, n_threads_);
    });
  }
  return frequencies_->inverse;
}

template <typename Data>
LinearObjective<Data> LinearObjective<Data>::with_target(std::span<const Real> y) const {
  LinearObjective other = *this;
  other.y_ = y;
  other.check_target();
  return other;
}

template <typename Data>
void LinearObjective<Data>::check_target() const {
  check_length("y", y_.size());
  if (!config_.loss.of_classes()) return;
  const auto n_classes = static_cast<Real>(config_.loss.n_outputs);
  for (const Real y : y_) {
    if (!(y >= 0 && y < n_classes) || y != std::floor(y)) {
      throw Error(ErrorCode::data, "a target is " + std::to_string(y) + "; the classes are numbered from 0 to " +
                                       std::to_string(config_.loss.n_outputs - 1));
    }
  }
}

template <typename Data>
void LinearObjective<Data>::check_length(const char* what, std::size_t size) const {
  if (size != X_.rows()) {
    throw Error(ErrorCode::data,
                "X has " + std::to_string(X_.rows()) + " rows and " + what + " " + std::to_string(size) + " elements");
  }
}

template <typename Data>
void LinearObjective<Data>::check_weights(std::span<const Real> weights) const {
  check_size("weights", weights.size(), n_parameters());
}

template <typename Data>
std::vector<std::size_t> LinearObjective<Data>::feature_ranges(std::size_t n_ranges) const {
  const std::size_t n_features = X_.features();
  if (n_ranges == 1) return {0, n_features};
  std::vector<std::size_t> edges{0};
  if constexpr (Data::kSparse) {
    double total = 0;  // sum of the frequencies d_j / n
    for (const Real inverse : counted()) total += 1 / static_cast<double>(inverse);
    double sum = 0;
    for (std::size_t j = 0; j < n_features; ++j) {
      sum += 1 / static_cast<double>(counted()[j]);
      while (edges.size() < n_ranges &&
             sum * static_cast<double>(n_ranges) >= total * static_cast<double>(edges.size())) {
        edges.push_back(j + 1);
      }
    }
  } else {
    while (edges.size() < n_ranges) edges.push_back(n_features * edges.size() / n_ranges);
  }
  edges.resize(n_ranges + 1, n_features);
  return edges;
}

template <typename Data>
double LinearObjective<Data>::mean_loss(std::span<const Real> weights, std::size_t n_threads) const {
  check_weights(weights);
  std::vector<double> partial((X_.rows() + kBlockRows - 1) / kBlockRows);
  Exclusive policy;
  visit_compiled(config_.loss, [&](const auto& loss) {
    const auto w = linear_weights(weights, loss, config_.fit_intercept, policy);
    parallel_blocks(X_.rows(), kBlockRows, n_threads, [&](std::size_t block, std::size_t begin, std::size_t end) {
      std::vector<Real> z(residual_size());
      LossSum sum(loss, residual_size());
      for (std::size_t i = begin; i < end; ++i) {
        w.decisions(X_.row(i), std::span(z));
        sum.add(static_cast<double>(sample_weight(i)), std::span<const Real>(z), y_[i]);
      }
      partial[block] = sum.value();
    });
  });
  double total = 0;
  for (const double sum : partial) total += sum;
  return total / static_cast<double>(X_.rows());
}

template <typename Data>
double LinearObjective<Data>::value(std::span<const Real> weights, std::size_t n_threads) const {
  const double loss = mean_loss(weights, n_threads);
  return loss + penalty_of(weights.first(X_.features() * parameters_per_feature()), config_);
}

template <typename Data>
double LinearObjective<Data>::loss_gradient(std::span<const Real> weights, std::span<double> out, std::size_t n_threads,
                                            std::span<Real> derivatives, bool with_loss) const {
  check_weights(weights);
  check_size("out", out.size(), n_parameters());
  const std::size_t m = residual_size();
  if (!derivatives.empty()) check_size("derivatives", derivatives.size(), X_.rows() * m);
  Exclusive policy;
  double total = 0;
  visit_evaluation([&](const auto& kernel) {
    using Sum = LossSum<std::remove_cvref_t<decltype(kernel.loss)>>;
    struct alignas(64) ThreadSum : Sum {  // on a cache line of its own, since its thread writes it for every row
      using Sum::Sum;
    };
    std::vector<ThreadSum> sums(n_threads, ThreadSum(kernel.loss, m));
    const auto access = kernel.access(weights, policy);
    add_rows(X_, n_threads, 1 / static_cast<double>(X_.rows()), out, [&](std::size_t thread) {
      return [&, thread, residual = kernel.residual()](std::size_t i, const auto& x, std::span<double> sum) mutable {
        access.weights().decisions(x, std::span<Real>(residual));
        if (with_loss) {
          sums[thread].add(static_cast<double>(sample_weight(i)), std::span<const Real>(residual), y_[i]);
        }
        access.finish(i, residual, false);
        if (!derivatives.empty()) std::ranges::copy(residual, derivatives.subspan(i * m, m).begin());
        if (m > 1 || residual[0] != 0) add_row(x, std::span<const Real>(residual), X_.features(), sum);
      };
    });
    for (const ThreadSum& part : sums) total += part.value();
  });
  return with_loss ? total / static_cast<double>(X_.rows()) : 0;
}

template <typename Data>
void decision_function(const Data& X, std::span<const typename Data::Real> weights, bool fit_intercept,
                       std::span<typename Data::Real> out, std::size_t n_threads) {
  using Real = typename Data::Real;
  const std::size_t m = std::max<std::size_t>(out.size() / std::max<std::size_t>(X.rows(), 1), 1);
  check_size("weights", weights.size(), (X.features() + (fit_intercept ? 1 : 0)) * m);
  check_size("out", out.size(), X.rows() * m);
  Exclusive policy;
  const auto decide = [&](const auto& w) {
    parallel_blocks(X.rows(), kBlockRows, n_threads, [&](std::size_t /*block*/, std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) w.decisions(X.row(i), out.subspan(i * m, m));
    });
  };
  if (m == 1) {
    decide(LinearWeights<const Real, Exclusive>(weights, fit_intercept, policy));
  } else {
    decide(OutputWeights<const Real, Exclusive>(weights, m, fit_intercept, policy));
  }
}

static_assert(SampleObjective<LinearObjective<CsrFloat64>>);

#define DSGD_INSTANTIATE(Data)          \
  template class LinearObjective<Data>; \
  template void decision_function(const Data&, std::span<const Data::Real>, bool, std::span<Data::Real>, std::size_t);
DSGD_FOR_EACH_MATRIX(DSGD_INSTANTIATE)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
