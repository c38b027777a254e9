#include <cerrno>    // for errno
#include <charconv>  // for to_chars
#include <cstdio>    // for fopen
#include <cstring>   // for strerror
#include <memory>    // for unique_ptr

#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/data/libsvm.hpp"

namespace dsgd {
namespace {

constexpr std::size_t kBlockRows = 4096;

[[noreturn]] void fail(const std::string& path, int error) {
  throw Error(path, error, std::string("cannot write the file: ") + std::strerror(error));
}

struct CloseFile {
  // NOLINTNEXTLINE: fflush has reported errors before
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

template <typename Number>
void append(std::string& text, Number number) {
  char buffer[32];  // the longest double has 24 characters
  const auto result = std::to_chars(std::begin(buffer), std::end(buffer), number);
  text.append(std::begin(buffer), result.ptr);
}

template <typename Row>
void append_row(std::string& text, double label, const Row& x, std::int64_t first_index) {
  append(text, label);
  for (std::size_t k = 0; k < x.size(); ++k) {
    text += ' ';
    append(text, static_cast<std::int64_t>(x.index(k)) + first_index);
    text += ':';
    append(text, x.value(k));
  }
  text += '\n';
}

}  // namespace

template <RealType Real>
void write_libsvm(const std::string& path, const CsrView<Real>& X, std::span<const double> labels,
                  std::int64_t first_index, std::size_t n_threads) {
  if (labels.size() != X.rows()) throw Error(ErrorCode::data, "there must be one label for every row");
  const File file(std::fopen(path.c_str(), "wb"));
  if (!file) fail(path, errno);
  // Each thread formats a block of rows, and then the blocks are written in order. This bounds the
  // memory.
  std::vector<std::string> blocks(n_threads);
  for (std::size_t first = 0; first < X.rows(); first += n_threads * kBlockRows) {
    const std::size_t batch = std::min(X.rows() - first, n_threads * kBlockRows);
    parallel_blocks(batch, kBlockRows, n_threads, [&](std::size_t block, std::size_t begin, std::size_t end) {
      blocks[block].clear();
      for (std::size_t i = first + begin; i < first + end; ++i)
        append_row(blocks[block], labels[i], X.row(i), first_index);
    });
    for (std::string& block : blocks) {
      if (std::fwrite(block.data(), 1, block.size(), file.get()) != block.size()) fail(path, errno);
      block.clear();
    }
  }
  if (std::fflush(file.get()) != 0) fail(path, errno);
}

#define DSGD_INSTANTIATE(Real)                                                                                \
  template void write_libsvm(const std::string&, const CsrView<Real>&, std::span<const double>, std::int64_t, \
                             std::size_t);
DSGD_INSTANTIATE(float)
DSGD_INSTANTIATE(double)
#undef DSGD_INSTANTIATE

}  // namespace dsgd
