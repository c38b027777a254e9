// A mailbox: letters that are not read yet, in a bounded number of slots. All drivers use it. A
// receiver keeps letters that have arrived in it, and a sender keeps letters that it cannot send
// yet.
#pragma once

#include <cstddef>   // for size_t
#include <cstdint>   // for uint8_t, uint32_t, uint64_t
#include <map>       // for map
#include <optional>  // for optional
#include <string>    // for string
#include <utility>   // for pair
#include <vector>    // for vector

#include "dsgd/net/values.hpp"

namespace dsgd::server {

/// The treatment of a new letter whose place is taken by an unread letter. `overwrite` replaces the
/// unread letter (ASGD, where only the latest state counts). `sum` adds the new letter to it (for
/// letters that are changes, of which none may be lost).
enum class OnFull : std::uint8_t { overwrite, sum };

struct MailboxLetter {
  std::uint32_t peer;    // sender or receiver; of a sum, that of the last letter
  std::uint64_t number;  // of a sum, that of the last letter
  std::string name;
  net::Values values;
};

class Mailbox {
 public:
  /// A letter of peer p goes into slot p mod `slots`. In a slot every name of a letter has a place
  /// of its own. 0 slots: the number of letters is not bounded, and `on_full` is not used.
  Mailbox(std::size_t slots, OnFull on_full) : slots_(slots), on_full_(on_full) {}

  /// Throws Error(config) if letters to be added differ in dtype, length or width.
  void put(MailboxLetter letter);

  /// Takes out all letters, in the order in which the last letter of each place arrived.
  std::vector<MailboxLetter> drain();

  /// Takes out the letters of one slot, in the same order. With as many slots as peers they are the
  /// letters of one peer.
  std::vector<MailboxLetter> take(std::uint32_t slot);

  [[nodiscard]] bool empty() const noexcept { return places_.empty(); }

  /// Unread letters that later ones have replaced so far.
  [[nodiscard]] std::uint64_t overwritten() const noexcept { return overwritten_; }

 private:
  struct Place {
    std::uint64_t arrival;
    MailboxLetter letter;
  };
  /// Slot and name; if the number of letters is not bounded, the arrival and "".
  using Key = std::pair<std::uint64_t, std::string>;

  template <typename Belongs>
  std::vector<MailboxLetter> take_where(const Belongs& belongs);

  std::size_t slots_;
  OnFull on_full_;
  std::uint64_t arrivals_ = 0;
  std::uint64_t overwritten_ = 0;
  std::map<Key, Place> places_;
};

/// into += more. Each may hold all rows or some; see Mailbox::put.
void add_values(net::Values& into, net::Values more);

}  // namespace dsgd::server
