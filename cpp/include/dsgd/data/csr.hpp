// A view of a sparse matrix in compressed rows (CSR). Row pointers have 64 bits, so that the number
// of entries has no limit in practice. Column indices have 32 bits: there is one per entry, and a
// pass over sparse data is limited by the bytes that it reads.
#pragma once

#include <algorithm>  // for lower_bound
#include <cstddef>    // for size_t
#include <cstdint>    // for int32_t, int64_t
#include <span>       // for span
#include <utility>    // for cmp_less

#include "dsgd/core/prefetch.hpp"
#include "dsgd/core/types.hpp"

namespace dsgd {

/// One row. Entry k belongs to feature index(k).
template <RealType Real>
class SparseRow {
 public:
  static constexpr bool kContiguous = false;
  SparseRow(std::span<const std::int32_t> indices, std::span<const Real> values) : indices_(indices), values_(values) {}
  [[nodiscard]] std::size_t size() const { return values_.size(); }
  [[nodiscard]] std::size_t index(std::size_t k) const { return static_cast<std::size_t>(indices_[k]); }
  [[nodiscard]] Real value(std::size_t k) const { return values_[k]; }

  /// The entries with columns in [low, high). The columns of the row must increase.
  [[nodiscard]] SparseRow between(std::size_t low, std::size_t high) const {
    const auto position = [&](std::size_t column) {
      const auto less = [](std::int32_t index, std::size_t bound) { return std::cmp_less(index, bound); };
      return static_cast<std::size_t>(std::lower_bound(indices_.begin(), indices_.end(), column, less) -
                                      indices_.begin());
    };
    const std::size_t begin = position(low);
    const std::size_t size = position(high) - begin;
    return SparseRow(indices_.subspan(begin, size), values_.subspan(begin, size));
  }

 private:
  std::span<const std::int32_t> indices_;
  std::span<const Real> values_;
};

template <RealType RealT>
class CsrView {
 public:
  using Real = RealT;
  using Row = SparseRow<Real>;
  static constexpr bool kSparse = true;

  /// Checks everything that the solvers rely on: the lengths agree, indptr never decreases and
  /// stays inside the arrays, every column is in [0, n_features), and every value is finite. Throws
  /// Error(data).
  CsrView(std::span<const std::int64_t> indptr, std::span<const std::int32_t> indices, std::span<const Real> values,
          std::size_t n_features, std::size_t n_threads);

  /// A view that checks nothing, for the rows of a checked matrix with renumbered columns. The
  /// columns must be distinct in each row and in [0, n_features); they need not increase.
  static CsrView trusted(std::span<const std::int64_t> indptr, std::span<const std::int32_t> indices,
                         std::span<const Real> values, std::size_t n_features) {
    CsrView X;
    X.indptr_ = indptr;
    X.indices_ = indices;
    X.values_ = values;
    X.n_features_ = n_features;
    X.canonical_ = false;
    return X;
  }

  [[nodiscard]] std::span<const std::int64_t> indptr() const { return indptr_; }
  [[nodiscard]] std::span<const std::int32_t> indices() const { return indices_; }
  [[nodiscard]] std::span<const Real> values() const { return values_; }
  [[nodiscard]] std::size_t rows() const { return indptr_.size() - 1; }
  [[nodiscard]] std::size_t features() const { return n_features_; }
  [[nodiscard]] std::size_t nonzeros() const { return values_.size(); }
  /// Whether the columns of every row increase strictly, and are therefore distinct.
  [[nodiscard]] bool canonical() const { return canonical_; }
  [[nodiscard]] std::size_t bytes() const { return indices_.size_bytes() + values_.size_bytes(); }
  [[nodiscard]] Row row(std::size_t i) const { return Row(columns(i, i + 1), values(i, i + 1)); }

  /// Prefetches row i.
  void prefetch(std::size_t i) const {
    dsgd::prefetch(columns(i, i + 1));
    dsgd::prefetch(values(i, i + 1));
  }
  /// The entries of rows [begin, end), row after row.
  [[nodiscard]] std::span<const Real> values(std::size_t begin, std::size_t end) const {
    return between(values_, begin, end);
  }
  /// The columns of these entries.
  [[nodiscard]] std::span<const std::int32_t> columns(std::size_t begin, std::size_t end) const {
    return between(indices_, begin, end);
  }

 private:
  CsrView() = default;

  template <typename T>
  [[nodiscard]] std::span<const T> between(std::span<const T> entries, std::size_t begin, std::size_t end) const {
    const auto first = static_cast<std::size_t>(indptr_[begin]);
    return entries.subspan(first, static_cast<std::size_t>(indptr_[end]) - first);
  }

  /// Whether rows [begin, end) pass the constructor's checks. Sets `sorted` to false if the columns
  /// of one of them do not increase.
  [[nodiscard]] bool sound(std::size_t begin, std::size_t end, bool& sorted) const;
  /// Throws the error of the first fault in rows [begin, end).
  void fail_first(std::size_t begin, std::size_t end) const;

  std::span<const std::int64_t> indptr_;
  std::span<const std::int32_t> indices_;
  std::span<const Real> values_;
  std::size_t n_features_ = 0;
  bool canonical_ = true;
};

}  // namespace dsgd
