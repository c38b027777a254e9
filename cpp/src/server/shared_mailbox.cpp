#include "dsgd/server/shared_mailbox.hpp"

#include <algorithm>  // for min, sort
#include <array>      // for array
#include <atomic>     // for atomic_ref
#include <bit>        // for bit_cast
#include <cstring>    // for memcpy
#include <limits>     // for numeric_limits
#include <string>     // for string, to_string
#include <utility>    // for move
#include <variant>    // for visit

#include "dsgd/core/error.hpp"

namespace dsgd::server {
namespace {

using Word = std::uint64_t;
using ByteSpan = std::span<const std::byte>;

static_assert(std::atomic_ref<Word>::is_always_lock_free, "other processes know nothing of our locks");

constexpr std::size_t kLineWords = 8;  // words of a cache line
/// How often a drain copies a letter of one place that is overwritten meanwhile.
constexpr int kAttempts = 8;

/// The words before the keys and values of a letter.
struct Header {
  Word arrival = 0;
  Word number = 0;
  Word n_keys = 0;
  Word n_values = 0;
  std::uint32_t sender = 0;
  std::uint16_t name_length = 0;
  std::uint8_t sparse = 0;
  std::uint8_t dtype = 0;
  std::array<char, SharedMailbox::kNameBytes> name{};
  std::array<Word, 7> unused{};
};
constexpr std::size_t kHeaderWords = sizeof(Header) / sizeof(Word);
static_assert(sizeof(Header) == 2 * kLineWords * sizeof(Word));

Word load(const Word& word, std::memory_order order) {
  return std::atomic_ref(const_cast<Word&>(word)).load(order);  // NOLINT: C++20 has no atomic_ref to const
}

std::size_t words_for(std::size_t bytes) { return (bytes + sizeof(Word) - 1) / sizeof(Word); }

constexpr std::size_t lines_for(std::size_t words) { return (words + kLineWords - 1) / kLineWords * kLineWords; }

void store_words(std::span<Word> to, ByteSpan from) {
  const std::size_t whole = from.size() / sizeof(Word);
  Word word = 0;
  for (std::size_t k = 0; k < whole; ++k) {
    std::memcpy(&word, &from[k * sizeof(Word)], sizeof(Word));
    std::atomic_ref(to[k]).store(word, std::memory_order_relaxed);
  }
  if (const ByteSpan rest = from.subspan(whole * sizeof(Word)); !rest.empty()) {
    word = 0;
    std::memcpy(&word, rest.data(), rest.size());
    std::atomic_ref(to[whole]).store(word, std::memory_order_relaxed);
  }
}

void load_words(std::span<std::byte> to, std::span<const Word> from) {
  const std::size_t whole = to.size() / sizeof(Word);
  for (std::size_t k = 0; k < whole; ++k) {
    const Word word = load(from[k], std::memory_order_relaxed);
    std::memcpy(&to[k * sizeof(Word)], &word, sizeof(Word));
  }
  if (const auto rest = to.subspan(whole * sizeof(Word)); !rest.empty()) {
    const Word word = load(from[whole], std::memory_order_relaxed);
    std::memcpy(rest.data(), &word, rest.size());
  }
}

/// FNV-1a, of 64 bits; never 0.
Word hash_of(std::string_view name) {
  Word hash = 0xcbf29ce484222325U;
  for (const char letter : name) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3U;
  return hash == 0 ? 1 : hash;
}

ByteSpan bytes_of(const net::Numbers& numbers) {
  return std::visit([](const auto& array) { return array.slice().bytes; }, numbers);
}

/// An array of the numbers in `from`.
template <typename Real>
net::Array<Real> loaded(std::span<const Word> from, std::size_t size) {
  const net::Block block(size * sizeof(Real));
  load_words(block.bytes(), from);
  // NOLINTNEXTLINE: the block holds numbers of this type
  return {block.owner(), {reinterpret_cast<const Real*>(block.bytes().data()), size}};
}

/// Words of an area: a letter with its header.
std::size_t area_words(const SharedMailboxShape& shape) { return lines_for(kHeaderWords + words_for(shape.capacity)); }

/// Words of a place: its version, alone in a cache line, and two areas.
std::size_t place_words(const SharedMailboxShape& shape) { return kLineWords + 2 * area_words(shape); }

std::size_t used_slots(const SharedMailboxShape& shape) { return std::min<std::size_t>(shape.slots, shape.n_ranks); }

/// The memory holds the hashes of the names, the lives of the ranks, the arrivals of the receivers,
/// and then the places, by receiver, slot and name.
constexpr std::size_t kLivesBegin = lines_for(SharedMailbox::kNames);
std::size_t arrivals_begin(const SharedMailboxShape& shape) { return kLivesBegin + lines_for(shape.n_ranks); }
std::size_t places_begin(const SharedMailboxShape& shape) { return arrivals_begin(shape) + kLineWords * shape.n_ranks; }

}  // namespace

constexpr Word kLifeMask = 0x7ff;
constexpr Word kNumberMask = 0xffffffffff;

/// The version word of a place.
struct SharedMailbox::Version {
  Word claimed : 1;  // whether letter `number` is being written; if not, it is the newest whole letter
  Word unread : 1;   // whether the newest whole letter has not been read
  Word rank : 11;    // of the writer, if there is one
  Word life : 11;    // of the writer, modulo 2^11
  Word number : 40;  // counts the letters of the place, modulo 2^40

  [[nodiscard]] Word newest() const { return number - claimed; }
  [[nodiscard]] bool same_claim(const Version& other) const {
    return claimed == other.claimed && rank == other.rank && life == other.life && number == other.number;
  }
};

struct SharedMailbox::Found {
  Word arrival;
  MailboxLetter letter;
};

std::size_t SharedMailbox::bytes_for(const SharedMailboxShape& shape) {
  const auto refuse = [](const std::string& what) { throw Error(ErrorCode::config, "a shared mailbox has " + what); };
  if (shape.n_ranks < 1 || shape.n_ranks > kMostRanks) {
    refuse("1 to " + std::to_string(kMostRanks) + " ranks, not " + std::to_string(shape.n_ranks));
  }
  if (shape.slots < 1) refuse("at least 1 slot");
  const std::size_t places = shape.n_ranks * used_slots(shape) * kNames;
  constexpr std::size_t kMost = std::numeric_limits<std::ptrdiff_t>::max();
  if (shape.capacity > kMost / places / 4) {
    refuse("a capacity that memory can be addressed for, not " + std::to_string(shape.capacity));
  }
  return (places_begin(shape) + places * place_words(shape)) * sizeof(Word);
}

SharedMailbox::SharedMailbox(std::span<std::byte> memory, const SharedMailboxShape& shape, std::uint32_t rank)
    : shape_(shape), rank_(rank) {
  const std::size_t needed = bytes_for(shape);
  if (memory.size() < needed || std::bit_cast<std::uintptr_t>(memory.data()) % sizeof(Word) != 0) {
    throw Error(ErrorCode::config, "a shared mailbox of this shape needs " + std::to_string(needed) +
                                       " bytes, aligned to 8, not " + std::to_string(memory.size()));
  }
  if (rank >= shape.n_ranks) {
    throw Error(ErrorCode::config, "rank " + std::to_string(rank) + " is not one of " + std::to_string(shape.n_ranks));
  }
  // NOLINTNEXTLINE: nothing but words is ever kept in this memory
  words_ = {reinterpret_cast<Word*>(memory.data()), needed / sizeof(Word)};
  life_ = load(words_[kLivesBegin + rank], std::memory_order_acquire);
}

/// The number of a name, the same in all processes; none if there are too many names.
std::optional<std::size_t> SharedMailbox::column_of(std::string_view name) {
  const Word hash = hash_of(name);
  for (std::size_t column = 0; column < kNames; ++column) {
    Word found = load(words_[column], std::memory_order_relaxed);
    if (found == 0 && std::atomic_ref(words_[column]).compare_exchange_strong(found, hash)) return column;
    if (found == hash) return column;
  }
  return std::nullopt;
}

std::optional<std::size_t> SharedMailbox::place_for(std::uint32_t receiver, const net::Values& values,
                                                    std::string_view name) {
  const std::size_t words = values.keys.size() + words_for(bytes_of(values.data).size());
  if (receiver >= shape_.n_ranks) {
    throw Error(ErrorCode::config, "rank " + std::to_string(receiver) + " has no mailbox");
  }
  if (name.size() > kNameBytes || words > words_for(shape_.capacity)) return std::nullopt;
  const auto column = column_of(name);
  if (!column) return std::nullopt;
  return place(receiver, rank_ % used_slots(shape_), *column);
}

/// The index of the version word of a place.
std::size_t SharedMailbox::place(std::uint32_t receiver, std::size_t slot, std::size_t column) const {
  const std::size_t index = (receiver * used_slots(shape_) + slot) * kNames + column;
  return places_begin(shape_) + index * place_words(shape_);
}

/// The index of the first word of the area of a letter.
std::size_t SharedMailbox::area(std::size_t place, std::uint64_t number) const {
  return place + kLineWords + number % 2 * area_words(shape_);
}

SharedMailbox::Version SharedMailbox::version(std::size_t place) const {
  return std::bit_cast<Version>(load(words_[place], std::memory_order_acquire));
}

/// Replaces the version of a place if it is `expected`; otherwise sets `expected` to what it is.
bool SharedMailbox::exchange(std::size_t place, Version& expected, const Version& desired) {
  Word found = std::bit_cast<Word>(expected);
  const bool done = std::atomic_ref(words_[place])
                        .compare_exchange_strong(found, std::bit_cast<Word>(desired), std::memory_order_acq_rel,
                                                 std::memory_order_acquire);
  expected = std::bit_cast<Version>(found);
  return done;
}

bool SharedMailbox::alive(const Version& claim) const {
  Version current = claim;
  current.life = load(words_[kLivesBegin + claim.rank], std::memory_order_acquire) & kLifeMask;
  return current.life == claim.life;
}

/// Claims a place for the next letter; none if another writer is at work. The letter of a writer that
/// has died is written anew, under the same number: the newest whole letter keeps the other area.
std::optional<SharedMailbox::Version> SharedMailbox::claim(std::size_t place) {
  Version found = version(place);
  while (!found.claimed || !alive(found)) {
    Version mine = found;
    mine.number = (found.newest() + 1) & kNumberMask;
    mine.claimed = 1;
    mine.rank = rank_ & kMostRanks;
    mine.life = life_ & kLifeMask;
    if (exchange(place, found, mine)) return mine;
  }
  return std::nullopt;
}

void SharedMailbox::write(std::size_t area, std::uint32_t receiver, const net::Values& values, std::string_view name) {
  const auto to = words_.subspan(area, area_words(shape_));
  store_words(to.subspan(kHeaderWords), std::as_bytes(std::span(values.keys)));
  store_words(to.subspan(kHeaderWords + values.keys.size()), bytes_of(values.data));
  Header header;
  header.arrival = std::atomic_ref(words_[arrivals_begin(shape_) + kLineWords * receiver]).fetch_add(1);
  header.number = sent_;
  header.n_keys = values.keys.size();
  header.n_values = values.size();
  header.sender = rank_;
  header.name_length = static_cast<std::uint16_t>(name.size());
  header.sparse = values.sparse ? 1 : 0;
  header.dtype = static_cast<std::uint8_t>(values.dtype());
  std::ranges::copy(name, header.name.begin());
  store_words(to, std::as_bytes(std::span(&header, 1)));
}

/// Makes the letter of a claim the newest whole one. The receiver may change the version meanwhile,
/// by reading the letter before it. Returns whether it takes the place of no unread letter.
bool SharedMailbox::publish(std::size_t place, Version claim) {
  Version found = claim;
  while (found.same_claim(claim)) {
    Version whole = found;
    whole.claimed = 0;
    whole.unread = 1;
    if (exchange(place, found, whole)) return !found.unread;
  }
  return false;
}

bool SharedMailbox::put(std::uint32_t receiver, const net::Values& values, std::string_view name) {
  const auto place = place_for(receiver, values, name);
  if (!place) return false;
  ++sent_;  // a letter that is given up counts, too
  bool into_empty = false;
  if (const auto mine = claim(*place)) {
    write(area(*place, mine->number), receiver, values, name);
    into_empty = publish(*place, *mine);
  }
  overwritten_ += into_empty ? 0 : 1;
  return true;
}

bool SharedMailbox::put_half(std::uint32_t receiver, const net::Values& values, std::string_view name) {
  const auto place = place_for(receiver, values, name);
  const auto mine = place ? claim(*place) : std::nullopt;
  if (!mine) return false;
  const ByteSpan bytes = bytes_of(values.data);
  store_words(words_.subspan(area(*place, mine->number) + kHeaderWords), bytes.first(bytes.size() / 2));
  return true;
}

/// A copy of the letter in an area. If a writer is at work there it may be of any content, or none.
std::optional<SharedMailbox::Found> SharedMailbox::read(std::size_t area) const {
  const auto from = words_.subspan(area, area_words(shape_));
  Header header;
  load_words(std::as_writable_bytes(std::span(&header, 1)), from);
  const std::size_t most = words_for(shape_.capacity);
  const std::size_t width = header.dtype == 0 ? sizeof(float) : sizeof(double);
  if (header.n_keys > most || header.n_values > most * sizeof(Word) / width || header.name_length > kNameBytes ||
      header.n_keys + words_for(header.n_values * width) > most) {
    return std::nullopt;
  }
  MailboxLetter letter{header.sender, header.number, {header.name.data(), header.name_length}, {}};
  letter.values.sparse = header.sparse != 0;
  letter.values.keys.resize(header.n_keys);
  load_words(std::as_writable_bytes(std::span(letter.values.keys)), from.subspan(kHeaderWords));
  const auto numbers = from.subspan(kHeaderWords + header.n_keys);
  if (header.dtype == 0) {
    letter.values.data = loaded<float>(numbers, header.n_values);
  } else {
    letter.values.data = loaded<double>(numbers, header.n_values);
  }
  return Found{header.arrival, std::move(letter)};
}

/// Takes out the unread letter of a place, if it has one. A copy is whole if, at the end of it, no
/// writer has claimed its area, which is that of the next letter but one.
std::optional<SharedMailbox::Found> SharedMailbox::take(std::size_t place) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Version found = version(place);
    if (!found.unread) return std::nullopt;
    const Version begin = found;
    auto letter = read(area(place, begin.newest()));
    while (found.number <= begin.newest() + 1) {
      Version taken = found;
      if (found.newest() == begin.newest()) taken.unread = 0;  // otherwise the next letter is there, unread
      if (exchange(place, found, taken)) return letter;
    }
    ++torn_;
    if (accept_torn_ && letter) return letter;
  }
  return std::nullopt;
}

template <typename Visit>
void SharedMailbox::for_each_own_place(const Visit& visit) const {
  for (std::size_t column = 0; column < kNames; ++column) {
    if (load(words_[column], std::memory_order_relaxed) == 0) break;  // names are entered in order
    for (std::size_t slot = 0; slot < used_slots(shape_); ++slot) visit(place(rank_, slot, column));
  }
}

std::vector<MailboxLetter> SharedMailbox::drain() {
  std::vector<Found> found;
  for_each_own_place([&](std::size_t place) {
    if (auto letter = take(place)) found.push_back(std::move(*letter));
  });
  std::ranges::sort(found, {}, &Found::arrival);
  std::vector<MailboxLetter> letters;
  letters.reserve(found.size());
  for (Found& each : found) letters.push_back(std::move(each.letter));
  return letters;
}

void SharedMailbox::clear() {
  for_each_own_place([&](std::size_t place) {
    Version found = version(place);
    while (found.unread) {
      Version read = found;
      read.unread = 0;
      if (exchange(place, found, read)) return;
    }
  });
}

bool SharedMailbox::empty() const {
  bool none = true;
  for_each_own_place([&](std::size_t place) { none = none && !version(place).unread; });
  return none;
}

void SharedMailbox::end_life(std::uint32_t rank) {
  if (rank >= shape_.n_ranks) throw Error(ErrorCode::config, "rank " + std::to_string(rank) + " has no life");
  std::atomic_ref(words_[kLivesBegin + rank]).fetch_add(1, std::memory_order_release);
}

}  // namespace dsgd::server
