#include "dsgd/server/all_reduce.hpp"

#include <algorithm>  // for transform

namespace dsgd::server {
namespace {

template <typename Real>
net::Values reduce(const std::map<std::uint32_t, net::AllReduce>& contributions, std::size_t size, bool mean) {
  double total = mean ? 0 : 1;
  if (mean) {
    for (const auto& [_, contribution] : contributions) total += contribution.weight;
  }
  std::vector<double> sum(size, 0.0);
  for (const auto& [_, contribution] : contributions) {
    const auto& values = std::get<net::Array<Real>>(contribution.values.data);
    // For a single worker it is 1, so that the mean equals the contribution, bit for bit.
    const double share = contribution.weight / total;
    for (std::size_t k = 0; k < size; ++k) sum[k] += share * static_cast<double>(values[k]);
  }
  std::vector<Real> result(size);
  std::ranges::transform(sum, result.begin(), [](double value) { return static_cast<Real>(value); });
  return {false, {}, std::move(result)};
}

}  // namespace

std::optional<std::string> AllReducer::mismatch() const {
  if (contributions_.empty()) return std::nullopt;
  const auto& [first_worker, first] = *contributions_.begin();
  double total = 0;
  for (const auto& [worker, other] : contributions_) {
    if (other.values.dtype() != first.values.dtype() || other.values.size() != first.values.size() ||
        other.mean != first.mean) {
      return "all-reduce " + std::to_string(round_) + ": worker " + std::to_string(worker) + " gave " +
             std::to_string(other.values.size()) + " values, worker " + std::to_string(first_worker) + " gave " +
             std::to_string(first.values.size()) + "; length, dtype and `mean` must be the same";
    }
    total += other.weight;
  }
  if (first.mean && !(total > 0)) {
    return "all-reduce " + std::to_string(round_) + ": the weights of a mean add up to " + std::to_string(total);
  }
  return std::nullopt;
}

const net::Values& AllReducer::complete() {
  const net::AllReduce& first = contributions_.begin()->second;
  const std::size_t size = first.values.size();
  net::Values& result = last_.emplace();
  result = first.values.dtype() == net::DType::float32 ? reduce<float>(contributions_, size, first.mean)
                                                       : reduce<double>(contributions_, size, first.mean);
  contributions_.clear();
  ++round_;
  return result;
}

}  // namespace dsgd::server
