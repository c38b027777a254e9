#include "dsgd/net/memory.hpp"

#include <map>    // for multimap
#include <mutex>  // for scoped_lock, mutex
#include <new>    // for bad_alloc

namespace dsgd::net {
namespace {

/// Least size of a block that is kept, in bytes. The system's allocator keeps smaller blocks
/// itself.
constexpr std::size_t kLarge = std::size_t{1} << 17U;
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kMostKept = 0;  // bytes; 0: the sanitizer finds every use after free
#else
constexpr std::size_t kMostKept = std::size_t{64} << 20U;  // bytes
#endif

using Memory = std::unique_ptr<std::byte[]>;

/// Large blocks that nobody uses now. New memory from the system costs a page fault per page, which
/// takes as long as a copy of the page.
class Kept {
 public:
  /// Returns memory of at least `size` bytes and at most about twice as many, and its size.
  std::pair<std::size_t, Memory> take(std::size_t size) {
    {
      const std::scoped_lock lock(mutex_);
      const auto found = free_.lower_bound(size);
      if (found != free_.end() && found->first / 2 <= size) {
        std::pair<std::size_t, Memory> taken(found->first, std::move(found->second));
        free_.erase(found);
        bytes_ -= taken.first;
        return taken;
      }
    }
    return {size, std::make_unique_for_overwrite<std::byte[]>(size)};
  }

  void give_back(std::size_t size, Memory memory) noexcept {
    const std::scoped_lock lock(mutex_);
    if (bytes_ + size > kMostKept) return;
    try {
      free_.emplace(size, std::move(memory));
      bytes_ += size;
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): frees it
    }
  }

 private:
  std::mutex mutex_;
  std::multimap<std::size_t, Memory> free_;
  std::size_t bytes_ = 0;
};

}  // namespace

Block::Block(std::size_t size) : size_(size) {
  if (size < kLarge) {
    memory_ = std::make_shared_for_overwrite<std::byte[]>(size);
    return;
  }
  static const auto kept = std::make_shared<Kept>();
  auto [capacity, memory] = kept->take(size);
  memory_ = std::shared_ptr<std::byte[]>(
      memory.release(), [to = kept, bytes = capacity](std::byte* back) { to->give_back(bytes, Memory(back)); });
}

}  // namespace dsgd::net
