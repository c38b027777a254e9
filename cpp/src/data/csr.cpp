#include "dsgd/data/csr.hpp"

#include <atomic>  // for atomic
#include <cmath>   // for isfinite
#include <string>  // for to_string

#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/data/not_finite.hpp"

namespace dsgd {
namespace {

constexpr std::size_t kBlockRows = 16384;

[[noreturn]] void fail(const std::string& message) {
  throw Error(ErrorCode::data, "the CSR matrix is broken: " + message);
}

}  // namespace

template <RealType RealT, IndexType IndexT>
CsrView<RealT, IndexT>::CsrView(std::span<const Index> indptr, std::span<const Index> indices,
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
    for (std::size_t i = begin; i < end; ++i) {
      if (indptr_[i] < 0 || indptr_[i] > indptr_[i + 1] || static_cast<std::size_t>(indptr_[i + 1]) > nonzeros) {
        fail("indptr goes from " + to_string(indptr_[i]) + " to " + to_string(indptr_[i + 1]) + " at row " +
             to_string(i));
      }
      const Row x = row(i);
      for (std::size_t k = 0; k < x.size(); ++k) {
        sorted = sorted && (k == 0 || x.index(k - 1) < x.index(k));
        if (!std::isfinite(x.value(k))) fail_not_finite(i, x.index(k), static_cast<double>(x.value(k)));
        if (x.index(k) >= n_features_) {  // a negative index is a huge one here
          fail("row " + to_string(i) + " has column " + to_string(static_cast<Index>(x.index(k))) + ", outside [0, " +
               to_string(n_features_) + ")");
        }
      }
    }
    if (!sorted) canonical = false;
  });
  canonical_ = canonical;
}

template class CsrView<float, std::int32_t>;
template class CsrView<float, std::int64_t>;
template class CsrView<double, std::int32_t>;
template class CsrView<double, std::int64_t>;

}  // namespace dsgd
