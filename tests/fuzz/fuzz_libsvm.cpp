// Any bytes as libsvm text: whatever the chunks and the ranges, they mean the same rows or have the same first fault.
#include <cmath>        // for isfinite
#include <cstddef>      // for size_t
#include <cstdint>      // for int32_t, int64_t, uint8_t
#include <limits>       // for numeric_limits
#include <string>       // for string
#include <string_view>  // for string_view
#include <vector>       // for vector

#include "check.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/data/csr.hpp"
#include "dsgd/data/libsvm.hpp"

namespace {

using dsgd::LibsvmReader;
using dsgd::fuzz::check;

constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();

/// What a text says, or where it is wrong; rows that were read before a fault are not kept.
struct Meaning {
  std::vector<double> labels;
  std::vector<std::int64_t> lengths;  // of the rows
  std::vector<std::int64_t> indices;
  std::vector<double> values;
  std::string fault;

  friend bool operator==(const Meaning&, const Meaning&) = default;
};

template <typename Real>
Meaning parse(const LibsvmReader& reader) {
  std::vector<double> labels(reader.rows());
  std::vector<std::int64_t> indptr(reader.rows() + 1);
  std::vector<std::int32_t> indices(reader.nonzeros());
  std::vector<Real> values(reader.nonzeros());
  Meaning meaning;
  try {
    const auto range = reader.parse<Real>(labels, indptr, indices, values);
    const std::size_t features = static_cast<std::size_t>(range.max) + 1;
    const dsgd::CsrView<Real> X(indptr, indices, values, features, 1);  // checks structure and values
    check(X.canonical(), "the indices of a row increase");
    check(X.nonzeros() == reader.nonzeros(), "every entry that was counted is in a row");
    for (const std::int32_t index : indices) {
      check(index >= range.min && index <= range.max, "indices are in their range");
    }
  } catch (const dsgd::Error& error) {
    check(error.location().has_value(), "a text that does not change has faults of text only");
    meaning.fault = std::to_string(error.location()->line) + ":" + std::to_string(error.location()->column) + ": ";
    meaning.fault += error.what();
    check(meaning.fault.find("changed while") == std::string::npos, "counting and parsing see the same entries");
    return meaning;
  }
  for (const double label : labels) check(std::isfinite(label), "labels are finite");
  meaning.labels = labels;
  for (std::size_t i = 0; i < labels.size(); ++i) meaning.lengths.push_back(indptr[i + 1] - indptr[i]);
  meaning.indices.assign(indices.begin(), indices.end());
  meaning.values.assign(values.begin(), values.end());
  return meaning;
}

Meaning read(std::string_view text, std::size_t offset, std::size_t length, std::size_t chunk_bytes) {
  return parse<double>(LibsvmReader(text, "name", offset, length, 1, chunk_bytes));
}

void check_single_precision(std::string_view text, const Meaning& whole) {
  const Meaning single = parse<float>(LibsvmReader(text, "name", 0, kAll, 1));
  if (!single.fault.empty()) return;  // a value may be infinite as a float alone
  check(whole.fault.empty(), "what float holds, double holds");
  check(single.labels == whole.labels && single.lengths == whole.lengths && single.indices == whole.indices,
        "the type of the values does not change the structure");
}

void check_ranges(std::string_view text, const Meaning& whole, std::size_t cut) {
  Meaning both = read(text, 0, cut, 16);
  const Meaning rest = read(text, cut, kAll, 16);
  if (both.fault.empty() && rest.fault.empty()) {
    both.labels.insert(both.labels.end(), rest.labels.begin(), rest.labels.end());
    both.lengths.insert(both.lengths.end(), rest.lengths.begin(), rest.lengths.end());
    both.indices.insert(both.indices.end(), rest.indices.begin(), rest.indices.end());
    both.values.insert(both.values.end(), rest.values.begin(), rest.values.end());
    check(both == whole, "ranges side by side read every line once");
  } else {
    check((both.fault.empty() ? rest.fault : both.fault) == whole.fault, "the first fault does not depend on ranges");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<char> bytes(data, data + size);  // of exactly this size, so that a sanitizer sees its end
  const std::string_view text(bytes.data(), bytes.size());
  const Meaning whole = read(text, 0, kAll, LibsvmReader::kChunkBytes);
  for (const std::size_t chunk_bytes : {std::size_t{1}, std::size_t{7}, std::size_t{64}}) {
    check(read(text, 0, kAll, chunk_bytes) == whole, "the size of the chunks does not matter");
  }
  check_single_precision(text, whole);
  // Every cut of a short text, some twenty of a long one, which shift with its size.
  for (std::size_t cut = 0; cut <= size; cut += 1 + size / 20) check_ranges(text, whole, cut);
  return 0;
}
