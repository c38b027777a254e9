// Letters that nobody has read yet, in a bounded number of slots: the contract of every mailbox, whoever carries the
// letters. A receiver keeps what has come in one; a sender keeps in one what cannot go yet.
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

/// What becomes of a letter whose slot still holds an unread one: it takes its place (ASGD, where only the latest state
/// counts), or is added to it (where letters are changes, and none may be lost).
enum class OnFull : std::uint8_t { overwrite, sum };

struct MailboxLetter {
  std::uint32_t peer;    // whom it is from, or for; of a sum the last one
  std::uint64_t number;  // likewise
  std::string name;
  net::Values values;
};

class Mailbox {
 public:
  /// A letter of peer p goes into slot p mod `slots`, where every name has a place of its own; 0: letters are bounded
  /// by nothing, and `on_full` never happens.
  Mailbox(std::size_t slots, OnFull on_full) : slots_(slots), on_full_(on_full) {}

  /// Throws Error(config) for letters that cannot be added up: of different dtypes, lengths or widths.
  void put(MailboxLetter letter);

  /// All letters in the order in which the last of each place came; none is left.
  std::vector<MailboxLetter> drain();

  /// The letters of one slot, likewise: those of one peer, where there are as many slots as peers.
  std::vector<MailboxLetter> take(std::uint32_t slot);

  [[nodiscard]] bool empty() const noexcept { return places_.empty(); }

 private:
  struct Place {
    std::uint64_t arrival;
    MailboxLetter letter;
  };
  using Key = std::pair<std::uint64_t, std::string>;  // the slot, and the name; without bound the arrival

  template <typename Belongs>
  std::vector<MailboxLetter> take_where(const Belongs& belongs);

  std::size_t slots_;
  OnFull on_full_;
  std::uint64_t arrivals_ = 0;
  std::map<Key, Place> places_;
};

/// into += more, each dense or of some rows; see Mailbox::put.
void add_values(net::Values& into, net::Values more);

}  // namespace dsgd::server
