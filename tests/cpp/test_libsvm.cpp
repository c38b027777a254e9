#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "dsgd/core/error.hpp"
#include "dsgd/data/libsvm.hpp"
#include "problems.hpp"

using namespace dsgd;

namespace {

/// A file that exists for one test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text = "")
      : path_(std::filesystem::temp_directory_path() / ("dsgd_test_" + std::to_string(getpid()) + ".svm")) {
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] std::string path() const { return path_.string(); }
  [[nodiscard]] std::string text() const {
    std::ostringstream text;
    text << std::ifstream(path_, std::ios::binary).rdbuf();
    return text.str();
  }

 private:
  std::filesystem::path path_;
};

template <typename Real = double>
struct Parsed {
  std::vector<double> labels;
  std::vector<std::int64_t> indptr;
  std::vector<std::int32_t> indices;
  std::vector<Real> values;
  LibsvmReader::IndexRange range{};
};

constexpr std::size_t kAll = ~std::size_t{0};

template <typename Real = double>
Parsed<Real> parse(const std::string& text, std::size_t offset = 0, std::size_t length = kAll) {
  const LibsvmReader reader(text, "name", offset, length, 2);
  Parsed<Real> out;
  out.labels.resize(reader.rows());
  out.indptr.resize(reader.rows() + 1);
  out.indices.resize(reader.nonzeros());
  out.values.resize(reader.nonzeros());
  out.range = reader.parse<Real>(out.labels, out.indptr, out.indices, out.values);
  return out;
}

std::string fault(const std::string& text) {
  try {
    parse(text);
    return "accepted";
  } catch (const Error& error) {
    REQUIRE(error.location().has_value());
    return std::to_string(error.location()->line) + ":" + std::to_string(error.location()->column) + ": " +
           error.what();
  }
}

}  // namespace

TEST_CASE("rows, comments, blank lines, blanks, signs and a missing last newline") {
  const auto data = parse("+1 1:0.5 3:-2e1\t7:+3 # first\n\n# nothing here: really\n-1\r\n  2.5   2:1 ");
  CHECK(data.labels == std::vector<double>{1, -1, 2.5});
  CHECK(data.indptr == std::vector<std::int64_t>{0, 3, 3, 4});
  CHECK(data.indices == std::vector<std::int32_t>{1, 3, 7, 2});
  CHECK(data.values == std::vector<double>{0.5, -20, 3, 1});
  CHECK(data.range.min == 1);
  CHECK(data.range.max == 7);
}

TEST_CASE("an empty file has no rows") {
  const auto data = parse("");
  CHECK(data.labels.empty());
  CHECK(data.indptr == std::vector<std::int64_t>{0});
  CHECK(data.range.max == -1);
}

TEST_CASE("faults are placed at line and column") {
  CHECK(fault("1 1:2\nx 1:2\n") == "2:1: expected a finite number as label, found 'x'");
  CHECK(fault("1 1:2\n1 1:2 3;4\n") == "2:7: expected index:value with an index of 0 or more, found '3;4'");
  CHECK(fault("1 1:\n") == "1:5: expected a finite number as value, found the end of the line");
  CHECK(fault("1 1:nan\n") == "1:5: expected a finite number as value, found 'nan'");
  CHECK(fault("1 1:1e999\n") == "1:5: expected a finite number as value, found '1e999'");
  CHECK(fault("inf 1:1\n") == "1:1: expected a finite number as label, found 'inf'");
  CHECK(fault("1 2:1 2:1\n") == "1:7: index 2 after 2; the indices of a row must increase");
  CHECK(fault("1 -2:1\n") == "1:3: expected index:value with an index of 0 or more, found '-2:1'");
  CHECK(fault("1 1:2:3\n") == "1:5: expected a finite number as value, found '2:3'");
  CHECK(fault("1 99999999999999999999:1\n").starts_with("1:3: expected index:value"));
  CHECK(fault("1 1:+-2\n").starts_with("1:5: expected a finite number as value"));
  CHECK(fault("1x\n").starts_with("1:1: expected a finite number as label"));
}

TEST_CASE("the first fault of the file is the one reported, whatever chunk it is in") {
  std::string text;
  for (int i = 0; i < 300000; ++i) text += "1 1:2 5:3\n";
  const std::string head = text;
  text += "1 bad\n" + head + "1 worse\n";
  CHECK(fault(text) == "300001:3: expected index:value with an index of 0 or more, found 'bad'");
}

TEST_CASE("an index that columns of 32 bits cannot hold is a fault of its place") {
  CHECK(parse("1 2147483647:1\n").indices == std::vector<std::int32_t>{2147483647});
  CHECK(fault("1 1:1\n1 5:2 2147483648:1\n").starts_with("2:7: index 2147483648 is 2^31 or more"));
}

TEST_CASE("numbers too small for the type become what they are nearest to") {
  CHECK(parse("1 1:1e-400 2:1e-310\n").values == std::vector<double>{0, 1e-310});
  CHECK(parse<float>("1 1:1e-60\n").values == std::vector<float>{0});
}

TEST_CASE("numbers are rounded as the C library rounds them, those half-way between two floats too") {
  std::mt19937_64 random(0);
  std::string text;
  std::vector<std::string> numbers;
  for (int i = 0; i < 200000; ++i) {
    const double scale = std::pow(10.0, static_cast<double>(random() % 12) - 5);
    const auto below = static_cast<float>(scale * static_cast<double>(random() % 1000000007) / 1e9);
    const double half_way = (static_cast<double>(below) + static_cast<double>(std::nextafter(below, 1e30F))) / 2;
    const int digits = 1 + static_cast<int>(random() % 17);
    std::array<char, 64> number{};
    std::snprintf(number.data(), number.size(), "%s%.*g", i % 3 == 0 ? "-" : "", digits, half_way);
    numbers.emplace_back(number.data());
    text += "1 1:" + numbers.back() + "\n";
  }
  const auto doubles = parse<double>(text).values;
  const auto floats = parse<float>(text).values;
  REQUIRE(doubles.size() == numbers.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    REQUIRE_MESSAGE(doubles[i] == std::strtod(numbers[i].c_str(), nullptr), numbers[i]);
    REQUIRE_MESSAGE(floats[i] == std::strtof(numbers[i].c_str(), nullptr), numbers[i]);
  }
  CHECK(std::signbit(parse("1 1:-0\n").values[0]));
}

TEST_CASE("an index that is too large does not hide the first fault") {
  std::string text = "1 bad\n";
  for (int i = 0; i < 200000; ++i) text += "1 1:2 5:3\n";
  text += "1 3000000000:1\n";
  CHECK(fault(text).starts_with("1:3: expected index:value"));
}

TEST_CASE("a file that changes between counting and parsing is refused, and nothing is written beyond the arrays") {
  for (const std::string line : {"1 1:1\n", "1\n"}) {
    std::string text(3000000, ' ');
    text += "\n1 1:1 2:2\n";
    const LibsvmReader reader(text, "name", 0, kAll, 2);
    for (std::size_t i = 0; i < 1000; ++i) text.replace(i * line.size(), line.size(), line);
    std::vector<double> labels(reader.rows());
    std::vector<std::int64_t> indptr(reader.rows() + 1);
    std::vector<std::int32_t> indices(reader.nonzeros());
    std::vector<double> values(reader.nonzeros());
    CHECK_THROWS_WITH_AS((void)reader.parse<double>(labels, indptr, indices, values),
                         "the file changed while it was being read", Error);
  }
}

TEST_CASE("the group of a ranking problem is passed over") {
  const auto data = parse("1 qid:3 1:2 4:5\n2 qid:x:y\n3 qid: 2:1\n");
  CHECK(data.labels == std::vector<double>{1, 2, 3});
  CHECK(data.indptr == std::vector<std::int64_t>{0, 2, 2, 3});
  CHECK(data.values == std::vector<double>{2, 5, 1});
  CHECK(fault("1 1:2 qid:3\n") == "1:7: expected index:value with an index of 0 or more, found 'qid:3'");
}

TEST_CASE("ranges side by side read every line once, wherever they are cut") {
  const std::string text = "1 1:1\n\n2 2:2 # two\n3 3:3\n# four\n5 5:5";
  for (std::size_t cut = 0; cut <= text.size() + 2; ++cut) {
    auto labels = parse(text, 0, cut).labels;
    const auto rest = parse(text, cut).labels;
    labels.insert(labels.end(), rest.begin(), rest.end());
    CHECK(labels == std::vector<double>{1, 2, 3, 5});
  }
  CHECK(parse(text, 1, 6).labels.empty());
  CHECK(parse(text, 7, 2).labels == std::vector<double>{2});
}

TEST_CASE("a directory that is not there") {
  CHECK_THROWS_AS(
      write_libsvm("/no/such/directory/file", testing::random_problem(3, 3, 1, 0).view(), std::vector<double>(3), 1, 1),
      Error);
}

TEST_CASE("what is written reads back the same, over many chunks and any number of threads") {
  const auto problem = testing::random_problem(40000, 20, 0.4, 1);
  for (const std::size_t threads : {std::size_t{1}, std::size_t{3}}) {
    const TemporaryFile file;
    write_libsvm(file.path(), problem.view(), problem.y, 0, threads);
    const auto data = parse(file.text());
    CHECK(data.labels == problem.y);
    CHECK(data.indptr == problem.indptr);
    CHECK(data.indices == problem.indices);
    CHECK(data.values == problem.values);
  }
}

TEST_CASE("a full disk is an error") {
  CHECK_THROWS_AS(
      write_libsvm("/dev/full", testing::random_problem(30000, 3, 1, 0).view(), std::vector<double>(30000), 1, 2),
      Error);
}
