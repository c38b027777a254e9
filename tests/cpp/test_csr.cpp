#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "dsgd/core/error.hpp"
#include "dsgd/data/csr.hpp"
#include "dsgd/data/matrix.hpp"

using namespace dsgd;

namespace {

using View = CsrView<double>;

std::string refusal(const std::vector<std::int64_t>& indptr, const std::vector<std::int32_t>& indices,
                    const std::vector<double>& values, std::size_t n_features) {
  try {
    const View view(indptr, indices, values, n_features, 2);
    return "accepted " + std::to_string(view.rows()) + " rows";
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::data);
    return error.what();
  }
}

}  // namespace

TEST_CASE("rows of a view") {
  const std::vector<std::int64_t> indptr{0, 2, 2, 3};
  const std::vector<std::int32_t> indices{0, 3, 1, 99};  // scipy allows unused room at the end
  const std::vector<double> values{1, 2, 3, 99};
  const View view(indptr, indices, values, 4, 1);
  CHECK(view.rows() == 3);
  CHECK(view.features() == 4);
  CHECK(view.nonzeros() == 3);
  CHECK(view.canonical());
  CHECK(view.row(0).size() == 2);
  CHECK(view.row(0).index(1) == 3);
  CHECK(view.row(0).value(1) == 2);
  CHECK(view.row(1).size() == 0);
  CHECK(view.row(2).index(0) == 1);
}

TEST_CASE("unsorted or duplicate columns are noticed") {
  const std::vector<double> values{1, 2};
  const std::vector<std::int64_t> indptr{0, 2};
  CHECK_FALSE(View(indptr, std::vector<std::int32_t>{1, 0}, values, 4, 1).canonical());
  CHECK_FALSE(View(indptr, std::vector<std::int32_t>{1, 1}, values, 4, 1).canonical());
}

TEST_CASE("a broken structure is refused") {
  const auto contains = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  CHECK(contains(refusal({}, {}, {}, 1), "indptr is empty"));
  CHECK(contains(refusal({0, 1}, {0, 1}, {1.0}, 2), "indices has 2 elements and data 1"));
  CHECK(contains(refusal({1, 1}, {0}, {1.0}, 1), "begins with 1"));
  CHECK(contains(refusal({0, 2}, {0}, {1.0}, 1), "ends with 2"));
  CHECK(contains(refusal({0, -1}, {0}, {1.0}, 1), "ends with -1"));
  CHECK(contains(refusal({0, 1, 0, 1}, {0}, {1.0}, 1), "from 1 to 0 at row 1"));
  CHECK(contains(refusal({0, 5, 1}, {0}, {1.0}, 1), "from 0 to 5 at row 0"));
  CHECK(contains(refusal({0, 1}, {0}, {std::numeric_limits<double>::quiet_NaN()}, 1), "X[0, 0] is nan"));
  CHECK(contains(refusal({0, 1}, {3}, {1.0}, 3), "column 3, outside [0, 3)"));
  CHECK(contains(refusal({0, 1}, {-1}, {1.0}, 3), "column -1, outside [0, 3)"));
}

namespace {

/// A matrix whose columns are 0, 2, 4, ... in every row, with rows shorter and longer than the lanes of a sweep.
template <typename Data>
struct Stairs {
  using Real = typename Data::Real;
  static constexpr std::size_t kFeatures = 80;

  std::vector<std::int64_t> indptr{0};
  std::vector<std::int32_t> indices;
  std::vector<Real> values;
  std::vector<std::size_t> row_of;

  explicit Stairs(std::span<const std::size_t> sizes) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      for (std::size_t k = 0; k < sizes[i]; ++k) {
        indices.push_back(static_cast<std::int32_t>(2 * k));
        row_of.push_back(i);
      }
      indptr.push_back(static_cast<std::int64_t>(indices.size()));
    }
    values.assign(indices.size(), std::numeric_limits<Real>::lowest());
  }

  [[nodiscard]] Data view() const { return Data(indptr, indices, values, kFeatures, 1); }

  [[nodiscard]] std::string refusal() const {
    try {
      (void)view();
      return "accepted";
    } catch (const Error& error) {
      return error.what();
    }
  }

  /// What is said of entry k with another value, or with another column.
  [[nodiscard]] std::string with_value(std::size_t k, Real value) const {
    Stairs other = *this;
    other.values[k] = value;
    return other.refusal();
  }
  [[nodiscard]] std::string with_column(std::size_t k, std::int32_t column) const {
    Stairs other = *this;
    other.indices[k] = column;
    return other.refusal();
  }
};

constexpr std::array<std::size_t, 10> kSizes{0, 1, 37, 0, 0, 2, 16, 5, 33, 0};

}  // namespace

TEST_CASE_TEMPLATE("a fault is found at every entry, and named", Data, CsrFloat32, CsrFloat64) {
  using Real = typename Data::Real;
  const Stairs<Data> sound(kSizes);
  REQUIRE(sound.refusal() == "accepted");
  const Real infinity = std::numeric_limits<Real>::infinity();
  for (std::size_t k = 0; k < sound.values.size(); ++k) {
    const std::string entry =
        "X[" + std::to_string(sound.row_of[k]) + ", " + std::to_string(sound.indices[k]) + "] is ";
    CHECK(sound.with_value(k, std::numeric_limits<Real>::quiet_NaN()).starts_with(entry + "nan;"));
    CHECK(sound.with_value(k, infinity).starts_with(entry + "inf;"));
    CHECK(sound.with_value(k, -infinity).starts_with(entry + "-inf;"));
    for (const std::int32_t column : {std::int32_t{80}, std::int32_t{-1}, std::numeric_limits<std::int32_t>::max(),
                                      std::numeric_limits<std::int32_t>::min()}) {
      CHECK(sound.with_column(k, column) == "the CSR matrix is broken: row " + std::to_string(sound.row_of[k]) +
                                                " has column " + std::to_string(column) + ", outside [0, 80)");
    }
  }
}

TEST_CASE_TEMPLATE("columns that do not increase are noticed at every entry", Data, CsrFloat32, CsrFloat64) {
  const Stairs<Data> sound(kSizes);
  REQUIRE(sound.view().canonical());
  for (std::size_t k = 1; k < sound.values.size(); ++k) {
    if (sound.row_of[k] != sound.row_of[k - 1]) continue;
    for (const int step : {0, 1}) {  // the column before again, and a smaller one
      Stairs<Data> other = sound;
      other.indices[k] = other.indices[k - 1];
      other.indices[k - 1] += static_cast<std::int32_t>(step);
      CHECK_FALSE(other.view().canonical());
    }
  }
}

TEST_CASE("of several faults the first is named") {
  Stairs<CsrFloat32> broken(kSizes);
  broken.values.back() = std::numeric_limits<float>::quiet_NaN();
  CHECK(broken.refusal().starts_with("X[8, 64] is nan"));
  broken.indices[60] = -5;
  CHECK(broken.refusal() == "the CSR matrix is broken: row 7 has column -5, outside [0, 80)");
  broken.values[60] = std::numeric_limits<float>::infinity();
  CHECK(broken.refusal().ends_with("] is inf; fill in or leave out what is not a finite number"));
  broken.indptr[6] = -1;
  CHECK(broken.refusal() == "the CSR matrix is broken: indptr goes from 38 to -1 at row 5");
}

TEST_CASE("blocks of rows are checked to their ends") {
  const std::vector<std::size_t> sizes(3000, 3);
  const Stairs<CsrFloat32> sound(sizes);
  CHECK(sound.view().canonical());
  for (const std::size_t k : {0U, 3071U, 3072U, 6143U, 6144U, 8999U}) {  // the borders of blocks of 1,024 rows
    CHECK(sound.with_column(k, 80).starts_with("the CSR matrix is broken: row " + std::to_string(k / 3) + " has"));
    CHECK(sound.with_value(k, std::numeric_limits<float>::infinity()).starts_with("X[" + std::to_string(k / 3) + ", "));
  }
  Stairs<CsrFloat32> other = sound;
  other.indices[3071] = 0;
  CHECK_FALSE(other.view().canonical());
}

TEST_CASE("a matrix without columns has no entries") {
  CHECK(refusal({0, 0}, {}, {}, 0) == "accepted 1 rows");
  CHECK(refusal({0, 1}, {0}, {1.0}, 0).ends_with("column 0, outside [0, 0)"));
}
