// The mailboxes of workers on one machine, in memory that their processes share. A letter is a copy
// into the memory of its receiver: the sender waits for nobody, and the receiver takes no part.
//
// A place holds two letters: the newest whole one, and the one that is being written. Letters of a
// place are numbered, and those of even and of odd numbers have an area each. So a letter becomes
// visible at once and whole, and the letter before it can be read until then. A version word says
// which is which. It is a seqlock (Lamport 1977; Boehm, "Can seqlocks get along with programming
// language memory models?", MSPC 2012): the reader copies a letter, and then looks whether a writer
// has claimed its area meanwhile. It looks by compare-and-swap, which orders the reads of the letter
// before the writes of the next claim without a fence. Letters themselves are copied by relaxed
// atomic operations of 8 bytes.
//
// A writer claims a place by compare-and-swap; the claim names its rank and its life, a number that
// grows whenever the process of a rank has ended (`end_life`). A claim of a life that has ended is
// taken over, so that a process that is killed while it writes holds up nobody.
#pragma once

#include <cstddef>      // for byte, size_t
#include <cstdint>      // for uint32_t, uint64_t
#include <optional>     // for optional
#include <span>         // for span
#include <string_view>  // for string_view
#include <vector>       // for vector

#include "dsgd/net/values.hpp"
#include "dsgd/server/mailbox.hpp"

namespace dsgd::server {

/// What all processes of a run must agree on.
struct SharedMailboxShape {
  std::uint32_t n_ranks;
  std::size_t slots;     // of each receiver; see Mailbox. At least 1.
  std::size_t capacity;  // most bytes of the keys and values of a letter
};

/// One rank's view of the mailboxes of all ranks. The rules are those of a Mailbox that overwrites.
/// One thread uses an object; a rank has one object at a time that puts and drains.
class SharedMailbox {
 public:
  static constexpr std::uint32_t kMostRanks = 2047;
  static constexpr std::size_t kNames = 8;       // different names that the letters of a run may have
  static constexpr std::size_t kNameBytes = 32;  // longest name

  /// Bytes of the memory. Pages in which no letter has been written are never touched. Throws
  /// Error(config) for a shape that cannot be.
  [[nodiscard]] static std::size_t bytes_for(const SharedMailboxShape& shape);

  /// `memory` is zero before its first use, aligned to 8 bytes, and outlives the object.
  SharedMailbox(std::span<std::byte> memory, const SharedMailboxShape& shape, std::uint32_t rank);

  /// From now on a letter that is overwritten while it is copied is taken as it is: a part of it may be of a later one.
  void accept_torn() noexcept { accept_torn_ = true; }

  /// Writes a letter into the mailbox of `receiver`. If another rank is just writing to the same
  /// place, the letter is given up: it counts as the one that the other letter overwrites.
  ///
  /// Returns false if the letter must go another way: it is longer than `capacity`, its name is
  /// longer than `kNameBytes`, or `kNames` other names are in use.
  bool put(std::uint32_t receiver, const net::Values& values, std::string_view name);

  /// Takes out all letters to this rank, in the order of their arrival. A letter that is
  /// overwritten again and again while it is copied is left for the next call.
  [[nodiscard]] std::vector<MailboxLetter> drain();

  /// Drops all unread letters to this rank.
  void clear();

  [[nodiscard]] bool empty() const;

  /// Letters of this object that replaced an unread one, or were given up to another writer, so far.
  [[nodiscard]] std::uint64_t overwritten() const noexcept { return overwritten_; }

  /// Copies so far during which a later letter was written over the letter.
  [[nodiscard]] std::uint64_t torn() const noexcept { return torn_; }

  /// How many processes of this rank had ended when the object was made.
  [[nodiscard]] std::uint64_t life() const noexcept { return life_; }

  /// To be called when the process of a rank has ended, and not before: a process that still writes
  /// would write into the letters of others.
  void end_life(std::uint32_t rank);

  /// For tests: does what `put` does until half of the values are written. Returns whether the
  /// place could be claimed.
  bool put_half(std::uint32_t receiver, const net::Values& values, std::string_view name);

 private:
  struct Version;
  struct Found;

  [[nodiscard]] std::optional<std::size_t> column_of(std::string_view name);
  [[nodiscard]] std::optional<std::size_t> place_for(std::uint32_t receiver, const net::Values& values,
                                                     std::string_view name);
  [[nodiscard]] std::size_t place(std::uint32_t receiver, std::size_t slot, std::size_t column) const;
  [[nodiscard]] std::size_t area(std::size_t place, std::uint64_t number) const;
  [[nodiscard]] Version version(std::size_t place) const;
  [[nodiscard]] bool exchange(std::size_t place, Version& expected, const Version& desired);
  [[nodiscard]] bool alive(const Version& claim) const;

  [[nodiscard]] std::optional<Version> claim(std::size_t place);
  void write(std::size_t area, std::uint32_t receiver, const net::Values& values, std::string_view name);
  [[nodiscard]] bool publish(std::size_t place, Version claim);
  [[nodiscard]] std::optional<Found> read(std::size_t area) const;
  [[nodiscard]] std::optional<Found> take(std::size_t place);
  template <typename Visit>
  void for_each_own_place(const Visit& visit) const;

  std::span<std::uint64_t> words_;
  SharedMailboxShape shape_;
  std::uint32_t rank_;
  std::uint64_t life_ = 0;
  std::uint64_t sent_ = 0;
  bool accept_torn_ = false;
  std::uint64_t overwritten_ = 0;
  std::uint64_t torn_ = 0;
};

}  // namespace dsgd::server
