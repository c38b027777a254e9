// The pause before the next attempt to connect, which doubles with every attempt.
#pragma once

#include <algorithm>  // for min
#include <chrono>     // for milliseconds

namespace dsgd::net {

class Backoff {
 public:
  static constexpr std::chrono::milliseconds kFirst{20};
  static constexpr std::chrono::milliseconds kMost{1000};

  [[nodiscard]] std::chrono::milliseconds next() {
    const auto pause = pause_;
    pause_ = std::min(2 * pause_, kMost);
    return pause;
  }
  void reset() { pause_ = kFirst; }

 private:
  std::chrono::milliseconds pause_ = kFirst;
};

}  // namespace dsgd::net
