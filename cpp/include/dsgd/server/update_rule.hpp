// The effects of a push on a table. Each rule is a type, which holds the numbers of the table.
#pragma once

#include <cmath>    // for sqrt
#include <cstddef>  // for size_t
#include <cstdint>  // for uint32_t, uint64_t
#include <map>      // for map
#include <memory>   // for shared_ptr
#include <span>     // for span
#include <variant>  // for variant
#include <vector>   // for vector

#include "dsgd/net/values.hpp"
#include "dsgd/server/paged.hpp"

namespace dsgd::server {

/// One push, with keys that count from the first row of the shard. Its values are shared: the push
/// may wait for the end of its clock, and a rule may keep the last push of a worker.
struct Update {
  std::uint32_t worker;
  double weight;
  std::shared_ptr<const net::Values> values;
};

/// Calls `change(element, value)` for every value of `values` and the element of `into` with the
/// same row and column.
template <typename Real, typename T, typename Change>
void for_each_value(const net::Values& values, std::size_t width, Paged<T>& into, Change&& change) {
  const auto& data = std::get<net::Array<Real>>(values.data);
  if (!values.sparse) {
    into.update(0, data.size(), [&](T& element, std::size_t k) { change(element, data[k]); });
    return;
  }
  for (std::size_t row = 0; row < values.keys.size(); ++row) {
    into.update(values.keys[row] * width, width,
                [&](T& element, std::size_t k) { change(element, data[row * width + k]); });
  }
}

/// table += factor * values (Petuum, Downpour); with `scaled` the factor is 1 / live workers
/// (DisSVRG).
template <typename Real>
struct AddRule {
  bool scaled;
  std::size_t width;
  Paged<Real> values;

  void apply(const Update& update, std::size_t live) {
    const double factor = scaled ? update.weight / static_cast<double>(live) : update.weight;
    if (!update.values->sparse) return apply_dense(std::get<net::Array<Real>>(update.values->data), factor);
    for_each_value<Real>(*update.values, width, values, [&](Real& element, Real value) {
      element += static_cast<Real>(factor * static_cast<double>(value));
    });
  }
  void apply_dense(const net::Array<Real>& changes, double factor) {
    values.update_spans(0, changes.size(), [&](std::span<Real> to, std::size_t first) {
      Real* const into = to.data();
      const Real* const from = changes.data() + first;
#pragma omp simd
      for (std::size_t k = 0; k < to.size(); ++k) into[k] += static_cast<Real>(factor * static_cast<double>(from[k]));
    });
  }
  void finish_clock() {}
  void forget(std::uint32_t /*worker*/) {}
  template <typename U>
  void read(std::size_t begin, std::span<U> out) const {
    values.read(begin, out);
  }
};

/// table += (values - table) / live workers, where `values` are a worker's weights, which it has
/// trained from the table at the beginning of the clock. With a single worker the table becomes its
/// values, bit for bit; a table to which workers add differences does not. A worker has not changed
/// the rows that its push leaves out.
template <typename Real>
struct BlendRule {
  BlendRule(std::size_t row_width, std::size_t size) : width(row_width), values(size), next_(size) {}

  std::size_t width;
  Paged<Real> values;

  void apply(const Update& update, std::size_t live) {
    if (!begun_) next_ = values;
    begun_ = true;
    const double factor = update.weight / static_cast<double>(live);
    const std::vector<Real> before = read_at(update.values->keys);
    std::size_t at = 0;
    for_each_value<Real>(*update.values, width, next_, [&](Real& element, Real value) {
      const Real moved = value - before[at++];
      element = factor == 1 ? value : element + static_cast<Real>(factor * static_cast<double>(moved));
    });
  }
  void finish_clock() {
    if (begun_) values = next_;
    begun_ = false;
  }
  void forget(std::uint32_t /*worker*/) {}
  template <typename U>
  void read(std::size_t begin, std::span<U> out) const {
    values.read(begin, out);
  }

 private:
  /// The rows of `keys`, or all rows if there are no keys, at the beginning of the clock.
  [[nodiscard]] std::vector<Real> read_at(const net::Keys& keys) const {
    std::vector<Real> before(keys.empty() ? values.size() : keys.size() * width);
    if (keys.empty()) values.read(0, std::span(before));
    for (std::size_t row = 0; row < keys.size(); ++row) {
      values.read(keys[row] * width, std::span(before).subspan(row * width, width));
    }
    return before;
  }

  Paged<Real> next_;  // the table at the end of this clock
  bool begun_ = false;
};

/// Server-side Adagrad (Dean et al. 2012): squares += g^2; table -= step_size g / sqrt(squares).
template <typename Real>
struct AdagradRule {
  double step_size;
  std::size_t width;
  Paged<Real> values;
  Paged<double> squares;

  void apply(const Update& update, std::size_t /*live*/) {
    std::vector<double> changes;  // in the order of the pushed values
    changes.reserve(update.values->size());
    for_each_value<Real>(*update.values, width, squares, [&](double& square, Real value) {
      const double gradient = update.weight * static_cast<double>(value);
      square += gradient * gradient;
      changes.push_back(square > 0 ? step_size * gradient / std::sqrt(square) : 0);
    });
    std::size_t next = 0;
    for_each_value<Real>(*update.values, width, values, [&](Real& element, Real /*value*/) {
      element = static_cast<Real>(static_cast<double>(element) - changes[next++]);
    });
  }
  void finish_clock() {}
  void forget(std::uint32_t /*worker*/) {}
  template <typename U>
  void read(std::size_t begin, std::span<U> out) const {
    values.read(begin, out);
  }
};

/// The table is the weighted mean of the last pushes of all workers, summed in the order of ranks.
template <typename Real>
struct ReplaceMeanRule {
  ReplaceMeanRule(std::size_t row_width, std::size_t size) : width(row_width), initial(size) {}

  std::size_t width;
  Paged<Real> initial;  // until the first push
  std::map<std::uint32_t, Update> last;

  void apply(const Update& update, std::size_t /*live*/) {
    last.insert_or_assign(update.worker, update);
    mean_.reset();
  }
  void finish_clock() {}
  void forget(std::uint32_t worker) {
    if (last.erase(worker) > 0) mean_.reset();
  }
  template <typename U>
  void read(std::size_t begin, std::span<U> out) const {
    if (last.empty()) {
      initial.read(begin, out);
      return;
    }
    if (!mean_) mean_ = std::make_shared<const Paged<double>>(mean());
    std::vector<double> means(out.size());
    mean_->read(begin, std::span(means));
    for (std::size_t k = 0; k < out.size(); ++k) out[k] = static_cast<U>(means[k]);
  }

 private:
  /// Each push is multiplied by its share of the total weight. The share of a single worker is 1,
  /// so that the mean equals its push, bit for bit.
  [[nodiscard]] Paged<double> mean() const {
    double total = 0;
    for (const auto& [_, update] : last) total += update.weight;
    Paged<double> means(initial.size());
    for (const auto& [_, update] : last) {
      const double share = update.weight / total;
      for_each_value<Real>(*update.values, width, means,
                           [&](double& element, Real value) { element += share * static_cast<double>(value); });
    }
    return means;
  }

  mutable std::shared_ptr<const Paged<double>> mean_;  // cached by `read`; null after a change
};

/// At the end of a clock the table becomes the weighted mean of the pushes of this clock (model
/// averaging).
template <typename Real>
struct AverageRule {
  std::size_t width;
  Paged<Real> values;
  Paged<double> sum;
  double total = 0;

  void apply(const Update& update, std::size_t /*live*/) {
    total += update.weight;
    for_each_value<Real>(*update.values, width, sum,
                         [&](double& element, Real value) { element += update.weight * static_cast<double>(value); });
  }
  void finish_clock() {
    if (total == 0) return;
    std::vector<double> page(Paged<double>::kPage);
    for (std::size_t begin = 0; begin < values.size(); begin += page.size()) {
      const auto part = std::span(page).first(std::min(page.size(), values.size() - begin));
      sum.read(begin, part);
      values.update(begin, part.size(),
                    [&](Real& element, std::size_t k) { element = static_cast<Real>(part[k] / total); });
    }
    sum = Paged<double>(values.size());
    total = 0;
  }
  void forget(std::uint32_t /*worker*/) {}
  template <typename U>
  void read(std::size_t begin, std::span<U> out) const {
    values.read(begin, out);
  }
};

template <typename Real>
using RuleOf =
    std::variant<AddRule<Real>, ReplaceMeanRule<Real>, AverageRule<Real>, AdagradRule<Real>, BlendRule<Real>>;

}  // namespace dsgd::server
