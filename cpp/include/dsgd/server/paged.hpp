// A long array of numbers in pages. A page that was never written takes no memory. A copy of the
// array shares each page until one of the two writes to it.
#pragma once

#include <algorithm>  // for fill_n, min, transform
#include <array>      // for array
#include <cstddef>    // for size_t
#include <memory>     // for make_shared, shared_ptr
#include <span>       // for span
#include <vector>     // for vector

#include "dsgd/net/memory.hpp"

namespace dsgd::server {

template <typename T>
class Paged {
 public:
  static constexpr std::size_t kPage = 4096;

  explicit Paged(std::size_t size) : size_(size), pages_((size + kPage - 1) / kPage) {}

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Copies the elements [begin, begin + out.size()) to `out`.
  template <typename U>
  void read(std::size_t begin, std::span<U> out) const {
    for_pieces(begin, out.size(), [&](std::size_t page, std::size_t offset, std::size_t count, std::size_t done) {
      if (pages_[page]) {
        const T* from = pages_[page]->data() + offset;
        std::transform(from, from + count, out.data() + done, [](T value) { return static_cast<U>(value); });
      } else {
        std::fill_n(out.data() + done, count, U{0});
      }
    });
  }

  /// Calls `change(element, k)` on the elements [begin, begin + count), k from 0.
  template <typename Change>
  void update(std::size_t begin, std::size_t count, Change&& change) {
    update_spans(begin, count, [&](std::span<T> to, std::size_t done) {
      for (std::size_t k = 0; k < to.size(); ++k) change(to[k], done + k);
    });
  }

  /// Calls `change(elements, k)` on consecutive spans of the elements [begin, begin + count). k is
  /// the number of the first element of a span, from 0.
  template <typename Change>
  void update_spans(std::size_t begin, std::size_t count, Change&& change) {
    for_pieces(begin, count, [&](std::size_t page, std::size_t offset, std::size_t n, std::size_t done) {
      change(std::span(writable(page) + offset, n), done);
    });
  }

  /// The memory of all elements. Slices keep the present numbers, even if the array is written
  /// later.
  [[nodiscard]] std::vector<net::Slice> slices() const {
    static constexpr Page kZeros{};
    std::vector<net::Slice> all;
    all.reserve(pages_.size());
    for_pieces(0, size_, [&](std::size_t page, std::size_t, std::size_t count, std::size_t) {
      const Page& numbers = pages_[page] ? *pages_[page] : kZeros;
      all.push_back({pages_[page], std::as_bytes(std::span(numbers).first(count))});
    });
    return all;
  }

 private:
  using Page = std::array<T, kPage>;

  template <typename Piece>
  static void for_pieces(std::size_t begin, std::size_t count, Piece&& piece) {
    for (std::size_t done = 0; done < count;) {
      const std::size_t offset = (begin + done) % kPage;
      const std::size_t n = std::min(count - done, kPage - offset);
      piece((begin + done) / kPage, offset, n, done);
      done += n;
    }
  }

  /// The memory of a page. Copies the page first if another array shares it.
  T* writable(std::size_t page) {
    auto& own = pages_[page];
    if (!own) {
      own = std::make_shared<Page>();
    } else if (own.use_count() > 1) {
      own = std::make_shared<Page>(*own);
    }
    return own->data();
  }

  std::size_t size_;
  std::vector<std::shared_ptr<Page>> pages_;
};

}  // namespace dsgd::server
