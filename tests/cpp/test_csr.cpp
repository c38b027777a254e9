#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "dsgd/core/error.hpp"
#include "dsgd/data/csr.hpp"

using namespace dsgd;

namespace {

using View = CsrView<double, std::int32_t>;

std::string refusal(const std::vector<std::int32_t>& indptr, const std::vector<std::int32_t>& indices,
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
  const std::vector<std::int32_t> indptr{0, 2, 2, 3};
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
  const std::vector<std::int32_t> indptr{0, 2};
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
