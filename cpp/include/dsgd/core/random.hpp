// Random numbers: one independent stream for every (seed, epoch, thread), so that a run can be
// repeated from any epoch.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for uint64_t
#include <span>     // for span
#include <utility>  // for swap

namespace dsgd {

/// SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::uint64_t epoch, std::uint64_t thread)
      : state_(mix(mix(mix(seed) + epoch) + thread)) {}

  [[nodiscard]] std::uint64_t next() {
    state_ += kGolden;
    return mix(state_);
  }

  /// A uniform integer in [0, bound), bound > 0, without bias (Lemire 2019, "Fast random integer
  /// generation").
  [[nodiscard]] std::uint64_t below(std::uint64_t bound) {
    __extension__ using Wide = unsigned __int128;
    Wide product = static_cast<Wide>(next()) * bound;
    if (static_cast<std::uint64_t>(product) < bound) {
      const std::uint64_t threshold = (0 - bound) % bound;
      while (static_cast<std::uint64_t>(product) < threshold) product = static_cast<Wide>(next()) * bound;
    }
    return static_cast<std::uint64_t>(product >> 64U);
  }

 private:
  static constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15U;

  [[nodiscard]] static constexpr std::uint64_t mix(std::uint64_t z) {
    z += kGolden;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }

  std::uint64_t state_;
};

/// The shuffle of Fisher and Yates. std::shuffle is not used, because its order differs between
/// standard libraries.
template <typename T>
void shuffle(std::span<T> items, RandomStream& random) {
  for (std::size_t k = items.size(); k > 1; --k) std::swap(items[k - 1], items[random.below(k)]);
}

}  // namespace dsgd
