// Memory that is filled once and then shared: large arrays are sent, and used after they were
// received, without a copy.
#pragma once

#include <algorithm>  // for equal
#include <cstddef>    // for byte, size_t
#include <cstring>    // for memcpy
#include <memory>     // for make_shared, shared_ptr
#include <span>       // for span
#include <utility>    // for move
#include <vector>     // for vector

#include "dsgd/core/types.hpp"

namespace dsgd::net {

using Bytes = std::vector<std::byte>;
using ByteSpan = std::span<const std::byte>;
/// Keeps memory alive that views refer to.
using Owner = std::shared_ptr<const void>;

/// Bytes, and the owner that keeps them alive.
struct Slice {
  Owner owner;
  ByteSpan bytes;
};

/// Memory that is not filled yet, aligned for numbers of any type. A large block that nobody uses
/// any more is kept, and reused for a later block.
class Block {
 public:
  Block() = default;
  explicit Block(std::size_t size);

  [[nodiscard]] std::span<std::byte> bytes() const { return {memory_.get(), size_}; }
  [[nodiscard]] Owner owner() const { return memory_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  std::shared_ptr<std::byte[]> memory_;
  std::size_t size_ = 0;
};

/// An array of numbers that never change. Copies share the memory.
template <RealType Real>
class Array {
 public:
  Array() = default;
  /// Takes over a vector.
  Array(std::vector<Real> values) {  // NOLINT(google-explicit-constructor): wanted
    auto kept = std::make_shared<const std::vector<Real>>(std::move(values));
    values_ = *kept;
    owner_ = std::move(kept);
  }
  Array(Owner owner, std::span<const Real> values) : owner_(std::move(owner)), values_(values) {}
  /// Copies `values`.
  explicit Array(std::span<const Real> values) {
    const Block block(values.size_bytes());
    if (!values.empty()) std::memcpy(block.bytes().data(), values.data(), values.size_bytes());
    // NOLINTNEXTLINE: the block holds numbers of this type
    values_ = {reinterpret_cast<const Real*>(block.bytes().data()), values.size()};
    owner_ = block.owner();
  }

  [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }
  [[nodiscard]] bool empty() const noexcept { return values_.empty(); }
  [[nodiscard]] const Real* data() const noexcept { return values_.data(); }
  [[nodiscard]] auto begin() const noexcept { return values_.begin(); }
  [[nodiscard]] auto end() const noexcept { return values_.end(); }
  [[nodiscard]] const Real& operator[](std::size_t k) const { return values_[k]; }
  [[nodiscard]] const Owner& owner() const noexcept { return owner_; }
  [[nodiscard]] Slice slice() const { return {owner_, std::as_bytes(values_)}; }
  /// The elements [first, first + count), shared.
  [[nodiscard]] Array part(std::size_t first, std::size_t count) const {
    return {owner_, values_.subspan(first, count)};
  }
  [[nodiscard]] std::vector<Real> copy() const { return {begin(), end()}; }

  friend bool operator==(const Array& a, const Array& b) { return std::ranges::equal(a.values_, b.values_); }

 private:
  Owner owner_;
  std::span<const Real> values_;
};

}  // namespace dsgd::net
