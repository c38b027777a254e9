#include "dsgd/solver/parzen_window.hpp"

#include <algorithm>  // for fill
#include <string>     // for to_string

#include "dsgd/core/check_size.hpp"
#include "dsgd/core/error.hpp"

namespace dsgd {

ParzenWindow::ParzenWindow(std::span<const std::int64_t> part_of, std::size_t n_parts)
    : part_of_(part_of.begin(), part_of.end()),
      pulls_(part_of.size()),
      taken_(n_parts),
      squares_before_(n_parts),
      squares_after_(n_parts),
      held_(n_parts) {
  for (const std::size_t part : part_of_) {
    if (part >= n_parts) throw Error(ErrorCode::config, "there is no part " + std::to_string(part));
  }
}

template <typename Real>
ParzenWindow::Seen ParzenWindow::look(std::span<const Real> before, std::span<const Real> after,
                                      std::span<const Real> state,
                                      std::optional<std::span<const std::uint64_t>> places) {
  check_size("before", before.size(), part_of_.size());
  check_size("after", after.size(), part_of_.size());
  check_size("state", state.size(), places ? places->size() : part_of_.size());
  const auto for_each_place = [&](const auto& visit) {
    for (std::size_t k = 0; k < state.size(); ++k) visit(places ? (*places)[k] : k, static_cast<double>(state[k]));
  };
  std::ranges::fill(squares_before_, 0);
  std::ranges::fill(squares_after_, 0);
  std::ranges::fill(held_, 0);
  for_each_place([&](std::size_t place, double value) {
    if (place >= part_of_.size()) throw Error(ErrorCode::config, "there is no place " + std::to_string(place));
    const std::size_t part = part_of_[place];
    const double from = static_cast<double>(before[place]) - value;
    const double to = static_cast<double>(after[place]) - value;
    squares_before_[part] += from * from;
    squares_after_[part] += to * to;
    ++held_[part];
  });
  Seen seen;
  for (std::size_t part = 0; part < held_.size(); ++part) {
    if (held_[part] == 0) continue;
    const bool accepted = squares_after_[part] < squares_before_[part];
    ++(accepted ? seen.accepted : seen.rejected);
    taken_[part] += accepted ? 1 : 0;
    held_[part] = accepted ? 1 : 0;
  }
  if (seen.accepted == 0) return seen;
  for_each_place([&](std::size_t place, double value) {
    if (held_[part_of_[place]] != 0) pulls_[place] += static_cast<double>(before[place]) - value;
  });
  return seen;
}

template <typename Real>
void ParzenWindow::pull(std::span<Real> after, double eps) {
  check_size("after", after.size(), part_of_.size());
  for (std::size_t k = 0; k < after.size(); ++k) {
    const std::size_t taken = taken_[part_of_[k]];
    if (taken == 0) continue;
    const double moved = static_cast<double>(after[k]) - eps / static_cast<double>(taken + 1) * pulls_[k];
    after[k] = static_cast<Real>(moved);
    pulls_[k] = 0;
  }
  std::ranges::fill(taken_, 0);
}

template ParzenWindow::Seen ParzenWindow::look(std::span<const float>, std::span<const float>, std::span<const float>,
                                               std::optional<std::span<const std::uint64_t>>);
template ParzenWindow::Seen ParzenWindow::look(std::span<const double>, std::span<const double>,
                                               std::span<const double>, std::optional<std::span<const std::uint64_t>>);
template void ParzenWindow::pull(std::span<float>, double);
template void ParzenWindow::pull(std::span<double>, double);

}  // namespace dsgd
