#include "dsgd/data/dense.hpp"

#include <cmath>  // for isfinite

#include "dsgd/core/parallel.hpp"
#include "dsgd/data/not_finite.hpp"

namespace dsgd {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 16U;

}  // namespace

template <RealType RealT>
DenseView<RealT>::DenseView(std::span<const Real> values, std::size_t n_rows, std::size_t n_features,
                            std::size_t n_threads)
    : values_(values), n_rows_(n_rows), n_features_(n_features) {
  parallel_blocks(values.size(), kBlock, n_threads, [&](std::size_t /*block*/, std::size_t begin, std::size_t end) {
    if (all_finite(values.subspan(begin, end - begin))) return;
    for (std::size_t k = begin; k < end; ++k) {
      if (!std::isfinite(values[k])) fail_not_finite(k / n_features, k % n_features, static_cast<double>(values[k]));
    }
  });
}

template class DenseView<float>;
template class DenseView<double>;

}  // namespace dsgd
