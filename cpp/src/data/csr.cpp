#include "dsgd/data/csr.hpp"

#include <algorithm>  // for min
#include <atomic>     // for atomic
#include <cmath>      // for isfinite
#include <cstdint>    // for int32_t, int64_t, uint32_t
#include <limits>     // for numeric_limits
#include <string>     // for to_string

#include "dsgd/core/error.hpp"
#include "dsgd/core/lanes.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/data/not_finite.hpp"

namespace dsgd {
namespace {

/// Rows of a block. With so few rows of text data, the columns of a block are still in the L1 or L2
/// cache when they are read a second time.
constexpr std::size_t kBlockRows = 1024;

[[noreturn]] void fail(const std::string& message) {
  throw Error(ErrorCode::data, "the CSR matrix is broken: " + message);
}

struct Columns {
  bool inside;        // whether all are in [0, n_features)
  std::size_t rises;  // the number of columns that are followed by a greater one
};

/// Checks all columns without a branch and without a comparison. The sign bit of a difference tells
/// which of two columns is greater, provided that both are inside; otherwise `rises` is not used.
Columns sweep(std::span<const std::int32_t> columns, std::size_t n_features) {
  using Bits = std::uint32_t;
  constexpr auto kLargest = static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max());
  if (n_features == 0) return {false, 0};
  const auto last = static_cast<Bits>(std::min(n_features - 1, kLargest));
  // Its sign bit is 1 if the column is outside.
  const auto outside = [&](Bits column) { return column | (last - column); };
  Lanes<Bits> wrong{outside(static_cast<Bits>(columns[0]))};
  Lanes<Bits> rises{};
  const auto next = columns.subspan(1);
  for_lanes<wrong.size()>(next.size(), [&](std::size_t lane, std::size_t k) {
    const auto column = static_cast<Bits>(next[k]);
    wrong[lane] |= outside(column);
    rises[lane] += (static_cast<Bits>(columns[k]) - column) >> kSignBit<Bits>;
  });
  Columns found{true, 0};
  for (std::size_t lane = 0; lane < wrong.size(); ++lane) {
    found.inside &= (wrong[lane] >> kSignBit<Bits>) == 0;
    found.rises += rises[lane];
  }
  return found;
}

}  // namespace

template <RealType RealT>
CsrView<RealT>::CsrView(std::span<const std::int64_t> indptr, std::span<const std::int32_t> indices,
                        std::span<const Real> values, std::size_t n_features, std::size_t n_threads)
    : indptr_(indptr), indices_(indices), values_(values), n_features_(n_features) {
  using std::to_string;
  if (indptr.empty()) fail("indptr is empty; it must have one element more than there are rows");
  if (indices.size() != values.size()) {
    fail("indices has " + to_string(indices.size()) + " elements and data " + to_string(values.size()));
  }
  if (indptr.front() != 0) fail("indptr begins with " + to_string(indptr.front()) + ", not 0");
  if (indptr.back() < 0 || static_cast<std::size_t>(indptr.back()) > values.size()) {
    fail("indptr ends with " + to_string(indptr.back()) + ", but there are " + to_string(values.size()) + " entries");
  }
  const auto nonzeros = static_cast<std::size_t>(indptr.back());
  indices_ = indices_.first(nonzeros);
  values_ = values_.first(nonzeros);

  std::atomic<bool> canonical{true};
  parallel_blocks(rows(), kBlockRows, n_threads, [&](std::size_t /*block*/, std::size_t begin, std::size_t end) {
    bool sorted = true;
    if (!sound(begin, end, sorted)) fail_first(begin, end);
    if (!sorted) canonical = false;
  });
  canonical_ = canonical;
}

template <RealType RealT>
bool CsrView<RealT>::sound(std::size_t begin, std::size_t end, bool& sorted) const {
  bool valid = true;
  std::size_t rows_with_entries = 0;
  for (std::size_t i = begin; i < end; ++i) {
    valid &= indptr_[i] >= 0 && indptr_[i] <= indptr_[i + 1];
    valid &= static_cast<std::size_t>(indptr_[i + 1]) <= values_.size();
    rows_with_entries += static_cast<std::size_t>(indptr_[i] < indptr_[i + 1]);
  }
  if (!valid) return false;

  const std::span<const std::int32_t> block = columns(begin, end);
  if (block.empty()) return true;
  const auto first = static_cast<std::size_t>(indptr_[begin]);
  const Columns found = sweep(block, n_features_);
  if (!found.inside) return false;

  // A column may be less than the one before it only where a row begins.
  std::size_t rises_between_rows = 0;
  for (std::size_t i = begin; i < end; ++i) {
    const auto k = static_cast<std::size_t>(indptr_[i]);
    if (k > first && indptr_[i] < indptr_[i + 1])
      rises_between_rows += static_cast<std::size_t>(indices_[k - 1] < indices_[k]);
  }
  sorted = found.rises - rises_between_rows == block.size() - rows_with_entries;
  return all_finite(values(begin, end));
}

template <RealType RealT>
void CsrView<RealT>::fail_first(std::size_t begin, std::size_t end) const {
  using std::to_string;
  for (std::size_t i = begin; i < end; ++i) {
    if (indptr_[i] < 0 || indptr_[i] > indptr_[i + 1] || static_cast<std::size_t>(indptr_[i + 1]) > values_.size()) {
      fail("indptr goes from " + to_string(indptr_[i]) + " to " + to_string(indptr_[i + 1]) + " at row " +
           to_string(i));
    }
    const Row x = row(i);
    for (std::size_t k = 0; k < x.size(); ++k) {
      if (!std::isfinite(x.value(k))) fail_not_finite(i, x.index(k), static_cast<double>(x.value(k)));
      if (x.index(k) >= n_features_) {  // a negative index is a huge one here
        fail("row " + to_string(i) + " has column " + to_string(static_cast<std::int32_t>(x.index(k))) +
             ", outside [0, " + to_string(n_features_) + ")");
      }
    }
  }
}

template class CsrView<float>;
template class CsrView<double>;

}  // namespace dsgd
