// Requests memory before it is needed.
#pragma once

#include <cstddef>  // for size_t
#include <span>     // for span

namespace dsgd {

/// Requests the cache lines of `values`, and does not wait for them.
template <typename T>
void prefetch(std::span<const T> values) {
  constexpr std::size_t kLine = 64 / sizeof(T);
  for (std::size_t k = 0; k < values.size(); k += kLine) __builtin_prefetch(&values[k]);
}

}  // namespace dsgd
