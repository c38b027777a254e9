#include "dsgd/data/libsvm.hpp"

#include <algorithm>     // for count, min
#include <array>         // for array
#include <bit>           // for bit_cast
#include <charconv>      // for from_chars, to_chars
#include <clocale>       // for LC_ALL_MASK
#include <cmath>         // for abs, isfinite
#include <cstdlib>       // for strtod_l
#include <cstring>       // for memchr
#include <limits>        // for numeric_limits
#include <system_error>  // for errc
#include <utility>       // for move

#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"

namespace dsgd {
namespace {

[[nodiscard]] bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

[[nodiscard]] const char* skip_blanks(const char* at, const char* end) {
  while (at < end && is_blank(*at)) ++at;
  return at;
}

[[nodiscard]] const char* find(const char* begin, const char* end, char c) {
  if (begin == end) return end;
  const void* const found = std::memchr(begin, c, static_cast<std::size_t>(end - begin));
  return found == nullptr ? end : static_cast<const char*>(found);
}

[[nodiscard]] const char* skip_word(const char* at, const char* end) {
  while (at < end && !is_blank(*at)) ++at;
  return at;
}

/// Skips blanks and a word that begins with "qid:".
[[nodiscard]] const char* skip_group(const char* at, const char* end) {
  at = skip_blanks(at, end);
  return std::string_view(at, end).starts_with("qid:") ? skip_blanks(skip_word(at, end), end) : at;
}

/// The beginning of the first line that begins at or after `position`.
[[nodiscard]] std::size_t first_line_from(std::string_view text, std::size_t position) {
  if (position == 0) return 0;
  if (position >= text.size()) return text.size();
  const std::size_t newline = text.find('\n', position - 1);
  return newline == std::string_view::npos ? text.size() : newline + 1;
}

/// Calls `on_line(begin, end)` for every line that holds a row, without its comment and leading
/// blanks, until `on_line` returns false. Counting and parsing both use this function, so that they
/// agree on the rows.
template <typename OnLine>
void for_each_line(std::string_view text, OnLine&& on_line) {
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    const char* const line_end = find(at, end, '\n');
    const char* const content_end = find(at, line_end, '#');
    const char* const content = skip_blanks(at, content_end);
    if (content < content_end && !on_line(content, content_end)) return;
    at = line_end == end ? end : line_end + 1;
  }
}

struct Fault {
  const char* at;
  std::string message;
};

/// The word at a fault, cut after 20 bytes. Bytes that are not printable ASCII are escaped.
[[nodiscard]] std::string quoted(const char* at, const char* end) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string word;
  for (const char* c = at; c < end && !is_blank(*c) && c - at < 20; ++c) {
    const auto byte = static_cast<unsigned char>(*c);
    if (byte > 0x20 && byte < 0x7f) {
      word += *c;
    } else {
      word += {'\\', 'x', kHex[byte >> 4U], kHex[byte & 15U]};
    }
  }
  return word.empty() ? "the end of the line" : "'" + word + "'";
}

/// strtod in the C locale: the program's locale may have another decimal point.
[[nodiscard]] double parse_extreme(const std::string& number) {
  static const locale_t c_locale = newlocale(LC_ALL_MASK, "C", nullptr);
  return strtod_l(number.c_str(), nullptr, c_locale);
}

[[nodiscard]] const char* skip_digits(const char* at, const char* end, std::uint64_t& digits) {
  for (; at < end && *at >= '0' && *at <= '9'; ++at) digits = 10 * digits + static_cast<std::uint64_t>(*at - '0');
  return at;
}

/// Reads a number of the common form -12.345 with at most 15 digits. Returns false for all other
/// forms: std::from_chars reads them, several times slower. The result is rounded correctly: the
/// digits and the power of ten are exact in double precision, so that their quotient is rounded
/// once (Clinger 1990). For float the quotient is rounded a second time. This is wrong only if the
/// first rounding has moved the quotient to the middle between two floats; the function then
/// returns false.
template <RealType Real>
[[nodiscard]] bool read_plain(const char*& at, const char* end, Real& value) {
  static constexpr std::array<double, 16> kPowers{1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  const bool negative = at < end && *at == '-';
  const char* const whole = at + (negative ? 1 : 0);
  std::uint64_t digits = 0;
  const char* stop = skip_digits(whole, end, digits);
  auto n_digits = static_cast<std::size_t>(stop - whole);
  std::size_t decimals = 0;
  if (stop < end && *stop == '.') {
    const char* const fraction = stop + 1;
    stop = skip_digits(fraction, end, digits);
    decimals = static_cast<std::size_t>(stop - fraction);
    n_digits += decimals;
  }
  if (n_digits == 0 || n_digits >= kPowers.size() || (stop < end && !is_blank(*stop))) return false;
  const double number = static_cast<double>(digits) / kPowers[decimals];
  if constexpr (sizeof(Real) == sizeof(float)) {
    constexpr unsigned kDropped = std::numeric_limits<double>::digits - std::numeric_limits<float>::digits;
    constexpr std::uint64_t kHalf = std::uint64_t{1} << (kDropped - 1);
    if ((std::bit_cast<std::uint64_t>(number) & (2 * kHalf - 1)) == kHalf) return false;
  }
  value = static_cast<Real>(negative ? -number : number);
  at = stop;
  return true;
}

/// A number of any sign; advances `at`. Returns false when there is none or it is not finite.
template <RealType Real>
[[nodiscard]] bool read_real(const char*& at, const char* end, Real& value) {
  const char* const digits = (at < end && *at == '+') ? at + 1 : at;
  if (digits != at && digits < end && (*digits == '-' || *digits == '+')) return false;
  if (const char* stop = digits; read_plain(stop, end, value)) {
    at = stop;
    return true;
  }
  auto [stop, status] = std::from_chars(digits, end, value);
  if (status == std::errc::result_out_of_range) {  // zero, subnormal or infinite
    value = static_cast<Real>(parse_extreme(std::string(digits, stop)));
  } else if (status != std::errc{}) {
    return false;
  }
  if (!std::isfinite(value)) return false;
  at = stop;
  return true;
}

/// Whether `label` is exactly the whole number that `word` spells. Two labels could become one by
/// rounding. True if `word` is not written as a whole number.
[[nodiscard]] bool exact(std::string_view word, double label) {
  constexpr double kExact = 9007199254740992;  // 2^53: below it float64 is exact
  constexpr std::size_t kDigits = 400;         // more digits than the largest float64 has
  if (std::abs(label) < kExact) return true;
  if (word.front() == '+' || word.front() == '-') word.remove_prefix(1);
  // With a point or an exponent.
  if (word.find_first_not_of("0123456789") != std::string_view::npos) return true;
  word.remove_prefix(word.find_first_not_of('0'));
  std::array<char, kDigits> digits{};
  const auto written =
      std::to_chars(digits.data(), digits.data() + digits.size(), std::abs(label), std::chars_format::fixed, 0);
  return word == std::string_view(digits.data(), static_cast<std::size_t>(written.ptr - digits.data()));
}

/// Parses the lines of one chunk into its part of the arrays. It never writes beyond this part,
/// even if the file has changed since its rows were counted.
template <RealType Real>
class ChunkParser {
 public:
  /// `labels` and `row_ends` hold the rows of the chunk; `indices` and `values` hold the entries of
  /// the whole file.
  ChunkParser(std::span<double> labels, std::span<std::int64_t> row_ends, std::span<std::int32_t> indices,
              std::span<Real> values, std::size_t first_nonzero, std::size_t n_nonzeros)
      : labels_(labels),
        row_ends_(row_ends),
        indices_(indices),
        values_(values),
        nonzero_(first_nonzero),
        last_nonzero_(first_nonzero + n_nonzeros) {}

  void run(std::string_view text) {
    for_each_line(text, [&](const char* at, const char* end) { return row(at, end); });
    if (!fault_ && (row_ != labels_.size() || nonzero_ != last_nonzero_))
      fail(text.data(), kChanged);  // NOLINT(bugprone-suspicious-stringview-data-usage)
  }

  [[nodiscard]] const std::optional<Fault>& fault() const { return fault_; }
  [[nodiscard]] LibsvmReader::IndexRange range() const { return range_; }

 private:
  bool fail(const char* at, std::string message) {
    fault_ = Fault{at, std::move(message)};
    return false;
  }

  bool row(const char* at, const char* end) {
    if (row_ == labels_.size()) return fail(at, kChanged);
    const char* const label = at;
    if (!read_real(at, end, labels_[row_]) || (at < end && !is_blank(*at))) {
      return fail(label, "expected a finite number as label, found " + quoted(label, end));
    }
    if (!exact(std::string_view(label, static_cast<std::size_t>(at - label)), labels_[row_])) {
      return fail(label, "label " + quoted(label, at) + " is no number of float64; number the labels anew");
    }
    std::int64_t previous = -1;
    for (at = skip_group(at, end); at < end; at = skip_blanks(at, end)) {
      if (!entry(at, end, previous)) return false;
    }
    row_ends_[row_++] = static_cast<std::int64_t>(nonzero_);
    return true;
  }

  bool entry(const char*& at, const char* end, std::int64_t& previous) {
    const char* const start = at;
    std::int64_t index = 0;
    // std::from_chars refuses a plus.
    const bool plus = *at == '+' && at + 1 < end && at[1] >= '0' && at[1] <= '9';
    const auto [stop, status] = std::from_chars(at + (plus ? 1 : 0), end, index);
    if (status != std::errc{} || stop == end || *stop != ':' || index < 0) {
      return fail(start, "expected index:value with an index of 0 or more, found " + quoted(start, end));
    }
    if (index > std::numeric_limits<std::int32_t>::max()) {
      return fail(start,
                  "index " + std::to_string(index) +
                      " is 2^31 or more, and columns have 32 bits; number the features without gaps, or hash them");
    }
    if (index <= previous) {
      return fail(start, "index " + std::to_string(index) + " after " + std::to_string(previous) +
                             "; the indices of a row must increase");
    }
    if (nonzero_ == last_nonzero_) return fail(start, kChanged);
    at = stop + 1;
    if (!read_real(at, end, values_[nonzero_]) || (at < end && !is_blank(*at))) {
      return fail(stop + 1, "expected a finite number as value, found " + quoted(stop + 1, end));
    }
    indices_[nonzero_++] = static_cast<std::int32_t>(index);
    range_.min = std::min(range_.min, index);
    range_.max = std::max(range_.max, index);
    previous = index;
    return true;
  }

  static constexpr const char* kChanged = "the file changed while it was being read";

  std::span<double> labels_;
  std::span<std::int64_t> row_ends_;
  std::span<std::int32_t> indices_;
  std::span<Real> values_;
  std::size_t row_ = 0;
  std::size_t nonzero_;
  std::size_t last_nonzero_;
  std::optional<Fault> fault_;
  LibsvmReader::IndexRange range_{std::numeric_limits<std::int64_t>::max(), -1};
};

[[nodiscard]] TextLocation locate(std::string_view text, const char* at) {
  const char* const begin = text.data();
  const auto lines = static_cast<std::size_t>(std::count(begin, at, '\n'));
  const char* line = at;
  while (line > begin && *(line - 1) != '\n') --line;
  return {lines + 1, static_cast<std::size_t>(at - line) + 1};
}

}  // namespace

LibsvmReader::LibsvmReader(std::string_view text, std::string name, std::size_t offset, std::size_t length,
                           std::size_t n_threads, std::size_t chunk_bytes)
    : text_(text), name_(std::move(name)), n_threads_(n_threads) {
  const std::size_t last = first_line_from(text, length < text.size() ? offset + length : text.size());
  for (std::size_t begin = first_line_from(text, offset); begin < last;) {
    const std::size_t end = std::min(last, first_line_from(text, begin + chunk_bytes));
    chunks_.push_back({text.substr(begin, end - begin), 0, 0, 0, 0});
    begin = end;
  }
  parallel_blocks(chunks_.size(), 1, n_threads_, [&](std::size_t c, std::size_t /*begin*/, std::size_t /*end*/) {
    for_each_line(chunks_[c].text, [&](const char* begin, const char* end) {
      ++chunks_[c].rows;
      const char* const entries = skip_group(skip_word(begin, end), end);
      chunks_[c].nonzeros += static_cast<std::size_t>(std::count(entries, end, ':'));
      return true;
    });
  });
  for (Chunk& chunk : chunks_) {
    chunk.first_row = rows_;
    chunk.first_nonzero = nonzeros_;
    rows_ += chunk.rows;
    nonzeros_ += chunk.nonzeros;
  }
}

template <RealType Real>
LibsvmReader::IndexRange LibsvmReader::parse(std::span<double> labels, std::span<std::int64_t> indptr,
                                             std::span<std::int32_t> indices, std::span<Real> values) const {
  if (labels.size() != rows_ || indptr.size() != rows_ + 1 || indices.size() != nonzeros_ ||
      values.size() != nonzeros_) {
    throw Error(ErrorCode::config, "the arrays do not have the size of the file");
  }
  indptr[0] = 0;
  std::vector<std::optional<Fault>> faults(chunks_.size());
  std::vector<IndexRange> ranges(chunks_.size());
  parallel_blocks(chunks_.size(), 1, n_threads_, [&](std::size_t c, std::size_t /*begin*/, std::size_t /*end*/) {
    const Chunk& chunk = chunks_[c];
    ChunkParser<Real> parser(labels.subspan(chunk.first_row, chunk.rows),
                             indptr.subspan(chunk.first_row + 1, chunk.rows), indices, values, chunk.first_nonzero,
                             chunk.nonzeros);
    parser.run(chunk.text);
    faults[c] = parser.fault();
    ranges[c] = parser.range();
  });
  for (const auto& fault : faults) {
    if (fault) throw Error(name_, locate(text_, fault->at), fault->message);
  }
  IndexRange all{std::numeric_limits<std::int64_t>::max(), -1};
  for (const IndexRange& range : ranges) all = {std::min(all.min, range.min), std::max(all.max, range.max)};
  return all;
}

#define DSGD_INSTANTIATE(Real)                                                                            \
  template LibsvmReader::IndexRange LibsvmReader::parse<Real>(std::span<double>, std::span<std::int64_t>, \
                                                              std::span<std::int32_t>, std::span<Real>) const;
DSGD_INSTANTIATE(float)
DSGD_INSTANTIATE(double)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
