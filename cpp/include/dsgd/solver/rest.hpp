// Which samples dual coordinate ascent leaves out. A sample whose step changes nothing, for instance
// one with a margin well above 1, will probably not change soon. It is left out for one epoch, then
// for two, four, ..., as long as its steps change nothing. This is the shrinking of Hsieh et al.
// 2008, "A dual coordinate descent method for large-scale linear SVM", without their bounds.
#pragma once

#include <algorithm>  // for fill, min
#include <cstddef>    // for size_t
#include <cstdint>    // for uint8_t
#include <vector>     // for vector

namespace dsgd {

class Rest {
 public:
  /// `longest` is the most epochs for which a sample is left out. 0: no sample is ever left out.
  Rest(std::size_t n_samples, std::size_t longest)
      : longest_(longest), left_(longest > 0 ? n_samples : 0), idle_(left_.size()) {}

  /// Whether sample i is left out of this epoch. If it is, counts the epoch.
  [[nodiscard]] bool skips(std::size_t i) {
    if (left_.empty() || left_[i] == 0) return false;
    --left_[i];
    return true;
  }

  /// Notes whether the step of sample i has changed its dual variable.
  void record(std::size_t i, bool changed) {
    if (left_.empty()) return;
    idle_[i] = changed ? 0 : static_cast<std::uint8_t>(std::min(idle_[i] + 1, 8));
    left_[i] = static_cast<std::uint8_t>(std::min<std::size_t>((1U << idle_[i]) / 2, longest_));
  }

  /// Ends the rest of all samples.
  void wake() { std::ranges::fill(left_, std::uint8_t{0}); }

 private:
  std::size_t longest_;
  std::vector<std::uint8_t> left_;  // epochs for which the sample is still left out
  std::vector<std::uint8_t> idle_;  // last visits that changed nothing
};

}  // namespace dsgd
