// A sparse matrix in compressed rows (CSR), seen in place.
#pragma once

#include <algorithm>  // for lower_bound
#include <cstddef>    // for size_t
#include <span>       // for span

#include "dsgd/core/prefetch.hpp"
#include "dsgd/core/types.hpp"

namespace dsgd {

/// One row; entry k is feature index(k).
template <RealType Real, IndexType Index>
class SparseRow {
 public:
  static constexpr bool kContiguous = false;
  SparseRow(std::span<const Index> indices, std::span<const Real> values) : indices_(indices), values_(values) {}
  [[nodiscard]] std::size_t size() const { return values_.size(); }
  [[nodiscard]] std::size_t index(std::size_t k) const { return static_cast<std::size_t>(indices_[k]); }
  [[nodiscard]] Real value(std::size_t k) const { return values_[k]; }

  /// The part with columns in [low, high), where columns increase.
  [[nodiscard]] SparseRow between(std::size_t low, std::size_t high) const {
    const auto position = [&](std::size_t column) {
      const auto less = [](Index index, std::size_t bound) { return static_cast<std::size_t>(index) < bound; };
      return static_cast<std::size_t>(std::lower_bound(indices_.begin(), indices_.end(), column, less) -
                                      indices_.begin());
    };
    const std::size_t begin = position(low);
    const std::size_t size = position(high) - begin;
    return SparseRow(indices_.subspan(begin, size), values_.subspan(begin, size));
  }

 private:
  std::span<const Index> indices_;
  std::span<const Real> values_;
};

template <RealType RealT, IndexType IndexT>
class CsrView {
 public:
  using Real = RealT;
  using Index = IndexT;
  using Row = SparseRow<Real, Index>;
  static constexpr bool kSparse = true;

  /// Checks what a kernel trusts: lengths, that indptr never decreases and stays inside the arrays, that every column
  /// is in [0, n_features) and every value finite; throws Error(data).
  CsrView(std::span<const Index> indptr, std::span<const Index> indices, std::span<const Real> values,
          std::size_t n_features, std::size_t n_threads);

  /// The rows of `indptr` and `values` with other columns, which are distinct in each row and in [0, n_features):
  /// nothing is checked.
  static CsrView trusted(std::span<const Index> indptr, std::span<const Index> indices, std::span<const Real> values,
                         std::size_t n_features) {
    CsrView X;
    X.indptr_ = indptr;
    X.indices_ = indices;
    X.values_ = values;
    X.n_features_ = n_features;
    X.canonical_ = false;
    return X;
  }

  [[nodiscard]] std::span<const Index> indptr() const { return indptr_; }
  [[nodiscard]] std::span<const Index> indices() const { return indices_; }
  [[nodiscard]] std::span<const Real> values() const { return values_; }
  [[nodiscard]] std::size_t rows() const { return indptr_.size() - 1; }
  [[nodiscard]] std::size_t features() const { return n_features_; }
  [[nodiscard]] std::size_t nonzeros() const { return values_.size(); }
  /// Whether the columns of every row increase strictly: no duplicates.
  [[nodiscard]] bool canonical() const { return canonical_; }
  [[nodiscard]] std::size_t bytes() const { return indices_.size_bytes() + values_.size_bytes(); }
  [[nodiscard]] Row row(std::size_t i) const { return Row(part(indices_, i), part(values_, i)); }

  /// Asks for the memory of row i.
  void prefetch(std::size_t i) const {
    dsgd::prefetch(part(indices_, i));
    dsgd::prefetch(part(values_, i));
  }

 private:
  CsrView() = default;

  template <typename T>
  [[nodiscard]] std::span<const T> part(std::span<const T> entries, std::size_t i) const {
    const auto begin = static_cast<std::size_t>(indptr_[i]);
    return entries.subspan(begin, static_cast<std::size_t>(indptr_[i + 1]) - begin);
  }

  std::span<const Index> indptr_;
  std::span<const Index> indices_;
  std::span<const Real> values_;
  std::size_t n_features_ = 0;
  bool canonical_ = true;
};

}  // namespace dsgd
