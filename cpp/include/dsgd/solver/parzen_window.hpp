// The Parzen window of asynchronous SGD, through which a worker looks at the states of its peers.
#pragma once

#include <cstddef>   // for size_t
#include <cstdint>   // for int64_t, uint64_t
#include <optional>  // for optional
#include <span>      // for span
#include <vector>    // for vector

namespace dsgd {

/// Decides which parts of a peer's state a worker's own step goes towards, and adds up the pull to these.
///
/// The worker's weights are w before its step and w' after it. A part of a state s is accepted if ||w' - s|| < ||w - s||
/// over the places of the part. With A the accepted states of a part, `pull` takes eps / (|A| + 1) sum_A (w - s) from w'
/// (Keuper, Pfreundt 2015, "Asynchronous parallel stochastic gradient descent", Eq. 3 and 4).
class ParzenWindow {
 public:
  /// The parts of one state.
  struct Seen {
    std::size_t accepted = 0;
    std::size_t rejected = 0;
  };

  /// `part_of[k]` is the part of parameter k. Throws Error(config) for one that is not below `n_parts`.
  ParzenWindow(std::span<const std::int64_t> part_of, std::size_t n_parts);

  /// Looks at `state`: the values of a peer at the parameters `places`, all parameters if there are none. Throws
  /// Error(config) for wrong sizes and for a place that is not there.
  template <typename Real>
  Seen look(std::span<const Real> before, std::span<const Real> after, std::span<const Real> state,
            std::optional<std::span<const std::uint64_t>> places);

  /// Moves `after` towards the states that were accepted since the last call.
  template <typename Real>
  void pull(std::span<Real> after, double eps);

 private:
  std::vector<std::size_t> part_of_;
  std::vector<double> pulls_;           // by parameter: sum_A (w - s)
  std::vector<std::size_t> taken_;      // by part: |A|
  std::vector<double> squares_before_;  // by part, of the state that is looked at
  std::vector<double> squares_after_;   //
  std::vector<std::size_t> held_;       // by part: places of the state
};

}  // namespace dsgd
