// The libsvm (svmlight) text format: `label qid:group index:value index:value ... # comment`, one
// row per line. The reader skips `qid:group`, the optional group of a ranking problem.
#pragma once

#include <cstddef>      // for size_t
#include <cstdint>      // for int32_t, int64_t
#include <span>         // for span
#include <string>       // for string
#include <string_view>  // for string_view
#include <vector>       // for vector

#include "dsgd/core/types.hpp"
#include "dsgd/data/csr.hpp"

namespace dsgd {

/// Reads a text in two passes: the constructor counts rows and entries, `parse` writes them
/// straight into arrays of exactly that size. Both work on chunks of whole lines in parallel.
class LibsvmReader {
 public:
  static constexpr std::size_t kChunkBytes = std::size_t{1} << 20U;

  /// Reads the lines of `text` that begin in [offset, offset + length), so that adjacent ranges
  /// together read every line once. The memory of `text` must outlive the reader. `name` is the
  /// name of the file, for error messages. A chunk holds the lines that begin within `chunk_bytes`
  /// bytes.
  LibsvmReader(std::string_view text, std::string name, std::size_t offset, std::size_t length, std::size_t n_threads,
               std::size_t chunk_bytes = kChunkBytes);

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t nonzeros() const { return nonzeros_; }

  struct IndexRange {
    std::int64_t min;  // over all entries; min > max when there are none
    std::int64_t max;
  };

  /// Fills labels[rows], indptr[rows + 1], indices[nonzeros] and values[nonzeros] from the text.
  /// Indices are stored as they are written, whether they count from 0 or from 1. The indices of a
  /// row must increase and be below 2^31; all labels and values must be finite. Throws an Error
  /// with the line and column of the first fault.
  template <RealType Real>
  [[nodiscard]] IndexRange parse(std::span<double> labels, std::span<std::int64_t> indptr,
                                 std::span<std::int32_t> indices, std::span<Real> values) const;

 private:
  struct Chunk {
    std::string_view text;
    std::size_t rows;
    std::size_t nonzeros;
    std::size_t first_row;
    std::size_t first_nonzero;
  };

  std::string_view text_;
  std::string name_;
  std::size_t n_threads_;
  std::vector<Chunk> chunks_;
  std::size_t rows_ = 0;
  std::size_t nonzeros_ = 0;
};

/// Writes `X` and `labels` to a new file at `path`. Numbers are written in the shortest form that
/// reads back as the same number; indices start at `first_index` (0 or 1). Throws Error(io) when a
/// write fails.
template <RealType Real>
void write_libsvm(const std::string& path, const CsrView<Real>& X, std::span<const double> labels,
                  std::int64_t first_index, std::size_t n_threads);

}  // namespace dsgd
