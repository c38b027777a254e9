#include "dsgd/core/mapped_file.hpp"

#include <fcntl.h>     // for open
#include <sys/mman.h>  // for mmap
#include <sys/stat.h>  // for fstat
#include <unistd.h>    // for close

#include <cerrno>   // for errno
#include <cstring>  // for strerror

#include "dsgd/core/error.hpp"

namespace dsgd {
namespace {

[[noreturn]] void fail(const std::string& path, int error) {
  throw Error(path, error, std::string("cannot read the file: ") + std::strerror(error));
}

class Descriptor {
 public:
  /// O_NONBLOCK: opening a pipe must not wait for a writer. It means nothing to a regular file.
  explicit Descriptor(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {  // NOLINT
    if (fd_ < 0) fail(path, errno);
  }
  ~Descriptor() { close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  const Descriptor file(path);
  struct stat status{};
  if (fstat(file.get(), &status) != 0) fail(path, errno);
  if (S_ISDIR(status.st_mode)) fail(path, EISDIR);
  if (!S_ISREG(status.st_mode))
    throw Error(path, EINVAL, "a pipe or device cannot be mapped; write it to a file first");
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ == 0) return;                                                       // an empty range cannot be mapped
  void* address = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);  // NOLINT(misc-const-correctness)
  if (address == MAP_FAILED) fail(path, errno);                                 // NOLINT
  data_ = static_cast<const char*>(address);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);  // NOLINT
}

}  // namespace dsgd
