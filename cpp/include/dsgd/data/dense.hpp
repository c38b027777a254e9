// A view of a dense matrix in C order.
#pragma once

#include <cstddef>  // for size_t
#include <span>     // for span

#include "dsgd/core/prefetch.hpp"
#include "dsgd/core/types.hpp"

namespace dsgd {

/// One row, or the part of a row that begins with feature `first`. Entry k belongs to feature first
/// + k.
template <RealType Real>
class DenseRow {
 public:
  static constexpr bool kContiguous = true;  // neighbouring entries have neighbouring features
  explicit DenseRow(std::span<const Real> values, std::size_t first = 0) : values_(values), first_(first) {}
  [[nodiscard]] std::size_t size() const { return values_.size(); }
  [[nodiscard]] std::size_t index(std::size_t k) const { return first_ + k; }
  [[nodiscard]] Real value(std::size_t k) const { return values_[k]; }

  /// The part with features in [low, high).
  [[nodiscard]] DenseRow between(std::size_t low, std::size_t high) const {
    return DenseRow(values_.subspan(low - first_, high - low), low);
  }

 private:
  std::span<const Real> values_;
  std::size_t first_;
};

template <RealType RealT>
class DenseView {
 public:
  using Real = RealT;
  using Row = DenseRow<Real>;
  static constexpr bool kSparse = false;

  /// `values` has n_rows * n_features elements. Checks that they are finite; throws Error(data).
  DenseView(std::span<const Real> values, std::size_t n_rows, std::size_t n_features, std::size_t n_threads);

  [[nodiscard]] std::size_t rows() const { return n_rows_; }
  [[nodiscard]] std::size_t features() const { return n_features_; }
  [[nodiscard]] std::size_t nonzeros() const { return values_.size(); }
  /// As CsrView::canonical: the columns of a dense row always increase.
  [[nodiscard]] static constexpr bool canonical() { return true; }
  [[nodiscard]] std::size_t bytes() const { return values_.size_bytes(); }
  void prefetch(std::size_t i) const { dsgd::prefetch(values_.subspan(i * n_features_, n_features_)); }
  /// The entries of rows [begin, end), row after row.
  [[nodiscard]] std::span<const Real> values(std::size_t begin, std::size_t end) const {
    return values_.subspan(begin * n_features_, (end - begin) * n_features_);
  }
  [[nodiscard]] Row row(std::size_t i) const { return Row(values_.subspan(i * n_features_, n_features_)); }

 private:
  std::span<const Real> values_;
  std::size_t n_rows_;
  std::size_t n_features_;
};

}  // namespace dsgd
