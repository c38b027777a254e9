#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dsgd/core/error.hpp"
#include "dsgd/solver/parzen_window.hpp"

namespace dsgd {
namespace {

using Places = std::optional<std::span<const std::uint64_t>>;

const std::vector<std::int64_t> kParts = {0, 0, 1, 1, 1};

TEST_CASE_TEMPLATE("every part of a state is accepted and pulled on its own", Real, float, double) {
  ParzenWindow window(kParts, 2);
  const std::vector<Real> before = {0, 0, 0, 0, 0};
  const std::vector<Real> after = {1, 1, 1, 1, 1};
  const std::vector<Real> ahead_and_behind = {2, 2, -2, -2, -2};
  const auto seen = window.look<Real>(before, after, ahead_and_behind, Places());
  CHECK(seen.accepted == 1);
  CHECK(seen.rejected == 1);
  const std::vector<std::uint64_t> first = {0, 1};
  const std::vector<Real> further = {4, 5};
  CHECK(window.look<Real>(before, after, further, first).accepted == 1);
  std::vector<Real> pulled = after;
  window.pull<Real>(pulled, 0.5);
  // 1 - 0.5 / 3 * ((0 - 2) + (0 - 4)), and likewise with 5.
  CHECK(pulled[0] == doctest::Approx(2));
  CHECK(pulled[1] == doctest::Approx(1 + 3.5 / 3));
  CHECK(std::vector<Real>(pulled.begin() + 2, pulled.end()) == std::vector<Real>(3, 1));
  window.pull<Real>(pulled, 1.0);  // nothing was accepted since
  CHECK(pulled[0] == doctest::Approx(2));
}

TEST_CASE("parts and places that are not there, and wrong sizes, are errors") {
  CHECK_THROWS_AS(ParzenWindow(kParts, 1), Error);
  const std::vector<std::int64_t> negative = {-1};
  CHECK_THROWS_AS(ParzenWindow(negative, 1), Error);
  ParzenWindow window(kParts, 2);
  const std::vector<double> five(5, 0.0);
  const std::vector<double> one(1, 0.0);
  const std::vector<std::uint64_t> far = {5};
  CHECK_THROWS_AS(window.look<double>(five, five, one, far), Error);
  CHECK_THROWS_AS(window.look<double>(five, five, one, Places()), Error);
  CHECK_THROWS_AS(window.look<double>(one, five, five, Places()), Error);
  std::vector<double> short_one(1);
  CHECK_THROWS_AS(window.pull<double>(short_one, 1.0), Error);
}

}  // namespace
}  // namespace dsgd
