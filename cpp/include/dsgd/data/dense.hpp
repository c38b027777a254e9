// A dense matrix in C order, seen in place.
#pragma once

#include <cstddef>  // for size_t
#include <span>     // for span

#include "dsgd/core/types.hpp"

namespace dsgd {

/// One row; entry k is feature k.
template <RealType Real>
class DenseRow {
 public:
  explicit DenseRow(std::span<const Real> values) : values_(values) {}
  [[nodiscard]] std::size_t size() const { return values_.size(); }
  [[nodiscard]] static std::size_t index(std::size_t k) { return k; }
  [[nodiscard]] Real value(std::size_t k) const { return values_[k]; }

 private:
  std::span<const Real> values_;
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
  [[nodiscard]] Row row(std::size_t i) const { return Row(values_.subspan(i * n_features_, n_features_)); }

 private:
  std::span<const Real> values_;
  std::size_t n_rows_;
  std::size_t n_features_;
};

}  // namespace dsgd
