#include "dsgd/data/renumber.hpp"

#include <array>   // for array
#include <bit>     // for bit_cast
#include <vector>  // for vector

#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"

namespace dsgd {
namespace {

/// A bucket number that grows with x > 0. There are eight buckets per power of two: the number is
/// the exponent and three bits of the fraction.
std::size_t bucket(float x) { return std::bit_cast<std::uint32_t>(x) >> 20U; }

constexpr std::size_t kBuckets = std::size_t{1} << 12U;
constexpr std::size_t kBlock = std::size_t{1} << 16U;

/// Whether `order` holds every number below `size` once.
bool is_order(std::span<const std::int64_t> order, std::size_t size) {
  if (order.size() != size) return false;
  std::vector<char> seen(size);
  for (const std::int64_t feature : order) {
    const auto j = static_cast<std::size_t>(feature);  // a negative one is huge here
    if (j >= size || seen[j] != 0) return false;
    seen[j] = 1;
  }
  return true;
}

}  // namespace

template <RealType Real>
void frequency_order(std::span<const Real> inverse_frequency, std::span<std::int64_t> order) {
  std::array<std::size_t, kBuckets> begin{};
  for (const Real inverse : inverse_frequency) ++begin[bucket(static_cast<float>(inverse))];
  std::size_t sum = 0;
  for (std::size_t& count : begin) {
    const std::size_t size = count;
    count = sum;
    sum += size;
  }
  for (std::size_t j = 0; j < inverse_frequency.size(); ++j) {
    order[begin[bucket(static_cast<float>(inverse_frequency[j]))]++] = static_cast<std::int64_t>(j);
  }
}

void renumber(std::span<const std::int32_t> indices, std::span<const std::int64_t> order, std::span<std::int32_t> out,
              std::size_t n_threads) {
  std::vector<std::int32_t> rank(order.size());
  for (std::size_t r = 0; r < order.size(); ++r) {
    rank[static_cast<std::size_t>(order[r])] = static_cast<std::int32_t>(r);
  }
  parallel_blocks(indices.size(), kBlock, n_threads, [&](std::size_t /*block*/, std::size_t begin, std::size_t end) {
    for (std::size_t k = begin; k < end; ++k) out[k] = rank[static_cast<std::size_t>(indices[k])];
  });
}

template <RealType Real>
CsrView<Real> renumbered(const CsrView<Real>& X, std::span<const std::int64_t> order, std::span<std::int32_t> columns,
                         std::size_t n_threads) {
  if (!is_order(order, X.features())) throw Error(ErrorCode::config, "order must name every feature once");
  renumber(X.indices(), order, columns, n_threads);
  return CsrView<Real>::trusted(X.indptr(), columns, X.values(), X.features());
}

template CsrView<float> renumbered(const CsrView<float>&, std::span<const std::int64_t>, std::span<std::int32_t>,
                                   std::size_t);
template CsrView<double> renumbered(const CsrView<double>&, std::span<const std::int64_t>, std::span<std::int32_t>,
                                    std::size_t);
template void frequency_order(std::span<const float>, std::span<std::int64_t>);
template void frequency_order(std::span<const double>, std::span<std::int64_t>);

}  // namespace dsgd
