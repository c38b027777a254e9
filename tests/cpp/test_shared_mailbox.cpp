// Mailboxes in shared memory: those of a Mailbox, whole letters whatever writers do, and writers
// that die.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <random>

#include "dsgd/core/error.hpp"
#include "dsgd/core/parallel.hpp"
#include "dsgd/server/shared_mailbox.hpp"

namespace dsgd::server {
namespace {

using Doubles = std::vector<double>;

/// Memory that several threads use as processes would.
struct Shared {
  explicit Shared(SharedMailboxShape given) : shape(given), words(SharedMailbox::bytes_for(given) / sizeof(words[0])) {}
  SharedMailbox of(std::uint32_t rank) { return {std::as_writable_bytes(std::span(words)), shape, rank}; }

  SharedMailboxShape shape;
  std::vector<std::uint64_t> words;
};

net::Values whole(Doubles data) { return {false, {}, std::move(data)}; }

/// The first value of every letter.
Doubles firsts(const std::vector<MailboxLetter>& letters) {
  Doubles values;
  for (const auto& letter : letters) values.push_back(std::get<net::Array<double>>(letter.values.data)[0]);
  return values;
}

/// Values of any kind. Their lengths are no multiples of 8 bytes.
net::Values random_values(std::mt19937_64& random) {
  net::Values values;
  values.sparse = random() % 2 == 0;
  const std::size_t size = random() % 6;
  for (std::size_t k = 0; values.sparse && k < size; ++k) values.keys.push_back(10 * k + random() % 10);
  if (random() % 2 == 0) {
    values.data = std::vector<float>(size, static_cast<float>(random()));
  } else {
    values.data = std::vector<double>(size, static_cast<double>(random()));
  }
  return values;
}

}  // namespace

TEST_CASE("letters are those that a mailbox in one process would hold") {
  std::mt19937_64 random(1);
  for (const std::size_t slots : {1U, 2U, 9U}) {
    Shared memory({3, slots, 80});
    std::vector<SharedMailbox> boxes = {memory.of(0), memory.of(1), memory.of(2)};
    std::vector<Mailbox> plain(3, Mailbox(slots, OnFull::overwrite));
    std::vector<std::uint64_t> sent(3, 0);
    const std::vector<std::string> names = {"", "a", std::string(SharedMailbox::kNameBytes, 'n')};
    for (int step = 0; step < 3000; ++step) {
      const auto receiver = static_cast<std::uint32_t>(random() % 3);
      if (random() % 4 > 0) {
        const auto sender = static_cast<std::uint32_t>(random() % 3);
        const std::string& name = names[random() % names.size()];
        const net::Values values = random_values(random);
        CHECK(boxes[sender].put(receiver, values, name));
        plain[receiver].put({sender, ++sent[sender], name, values});
        continue;
      }
      CHECK(boxes[receiver].empty() == plain[receiver].empty());
      const auto letters = boxes[receiver].drain();
      const auto expected = plain[receiver].drain();
      REQUIRE(letters.size() == expected.size());
      for (std::size_t k = 0; k < letters.size(); ++k) {
        CHECK(letters[k].peer == expected[k].peer);
        CHECK(letters[k].number == expected[k].number);
        CHECK(letters[k].name == expected[k].name);
        CHECK(letters[k].values.sparse == expected[k].values.sparse);
        CHECK(letters[k].values.keys == expected[k].values.keys);
        CHECK(letters[k].values.data == expected[k].values.data);
      }
    }
  }
}

TEST_CASE("a letter that has no room must go another way") {
  Shared memory({1, 1, 24});
  SharedMailbox box = memory.of(0);
  CHECK(box.put(0, whole({1, 2, 3}), ""));
  CHECK(!box.put(0, whole({1, 2, 3, 4}), ""));
  CHECK(!box.put(0, {true, {1, 2}, Doubles{1, 2}}, ""));
  CHECK(!box.put(0, whole({1}), std::string(SharedMailbox::kNameBytes + 1, 'n')));
  for (std::size_t k = 1; k < SharedMailbox::kNames; ++k) CHECK(box.put(0, whole({1}), std::to_string(k)));
  CHECK(!box.put(0, whole({1}), "one more"));
  CHECK(box.put(0, whole({2}), "1"));
  CHECK(box.drain().size() == SharedMailbox::kNames);
}

TEST_CASE("a shared mailbox that cannot be is refused") {
  for (const SharedMailboxShape shape :
       {SharedMailboxShape{0, 1, 8}, SharedMailboxShape{1, 0, 8},
        SharedMailboxShape{SharedMailbox::kMostRanks + 1, 1, 8}, SharedMailboxShape{2, 1, std::size_t{1} << 60U}}) {
    CHECK_THROWS_AS(static_cast<void>(SharedMailbox::bytes_for(shape)), Error);
  }
  Shared memory({2, 1, 8});
  const auto bytes = std::as_writable_bytes(std::span(memory.words));
  CHECK_THROWS_AS(memory.of(2), Error);
  CHECK_THROWS_AS(SharedMailbox(bytes.first(bytes.size() - 8), memory.shape, 0), Error);
  CHECK_THROWS_AS(SharedMailbox(bytes.subspan(4), {1, 1, 8}, 0), Error);
  CHECK_THROWS_AS(memory.of(0).put(2, whole({1}), ""), Error);
  CHECK_THROWS_AS(memory.of(0).end_life(2), Error);
}

TEST_CASE("letters are dropped when they are cleared") {
  Shared memory({2, 2, 8});
  SharedMailbox box = memory.of(0);
  memory.of(0).put(0, whole({1}), "");
  memory.of(1).put(0, whole({2}), "");
  memory.of(1).put(1, whole({3}), "");
  box.clear();
  CHECK(box.empty());
  CHECK(box.drain().empty());
  CHECK(firsts(memory.of(1).drain()) == Doubles{3});
}

TEST_CASE("a writer that dies while it writes holds up nobody, and spoils no letter") {
  Shared memory({3, 1, 800});
  SharedMailbox reader = memory.of(0);
  SharedMailbox victim = memory.of(1);
  SharedMailbox other = memory.of(2);
  for (int round = 0; round < 5; ++round) {
    CHECK(other.put(0, whole(Doubles(100, 1)), ""));
    CHECK(memory.of(1).put_half(0, whole(Doubles(100, 2)), ""));
    CHECK(!other.put_half(0, whole(Doubles(100, 3)), ""));  // the place is claimed
    CHECK(other.put(0, whole(Doubles(100, 3)), ""));        // and this letter given up
    const auto before = reader.drain();
    CHECK(firsts(before) == Doubles{1});  // the letter before can be read
    CHECK(std::get<net::Array<double>>(before[0].values.data).copy() == Doubles(100, 1));
    CHECK(reader.empty());
    reader.end_life(1);
    CHECK(memory.of(1).life() == static_cast<std::uint64_t>(round) + 1);
    SharedMailbox next = round % 2 == 0 ? memory.of(2) : memory.of(1);  // the next life of the victim, too
    CHECK(next.put(0, whole(Doubles(100, 4)), ""));
    const auto after = reader.drain();
    CHECK(firsts(after) == Doubles{4});
    CHECK(std::get<net::Array<double>>(after[0].values.data).copy() == Doubles(100, 4));
  }
  CHECK(victim.life() == 0);
}

TEST_CASE("every letter that is read is one that was sent, whole") {
  constexpr std::uint32_t kWriters = 3;
  constexpr std::uint64_t kLetters = 10000;
  constexpr std::size_t kSize = 2048;  // long enough that writers are at work during most copies
  for (const std::size_t slots : {1U, 2U, kWriters + 1}) {
    Shared memory({kWriters + 1, slots, kSize * sizeof(double)});
    std::atomic<std::uint32_t> at_work = kWriters;
    std::vector<std::uint64_t> last(kWriters + 1, 0);
    std::size_t read = 0;
    bool sound = true;
    const auto take = [&](SharedMailbox& box) {
      for (const MailboxLetter& letter : box.drain()) {
        const auto& values = std::get<net::Array<double>>(letter.values.data);
        const auto expected = static_cast<double>(letter.number * 10 + letter.peer);
        sound = sound && letter.number > last[letter.peer] && values.size() == 1 + letter.number % kSize;
        for (const double value : values) sound = sound && value == expected;
        last[letter.peer] = letter.number;
        ++read;
      }
    };
    concurrent_region(kWriters + 1, [&](std::size_t thread) {
      SharedMailbox box = memory.of(static_cast<std::uint32_t>(thread));
      if (thread == 0) {
        while (at_work > 0) take(box);
        take(box);
        return;
      }
      for (std::uint64_t number = 1; number <= kLetters; ++number) {
        const auto value = static_cast<double>(number * 10 + thread);
        static_cast<void>(box.put(0, whole(Doubles(number % kSize + 1, value)), ""));
      }
      --at_work;
    });
    CHECK(sound);
    CHECK(read > 0);
    for (std::uint32_t rank = 1; slots > kWriters && rank <= kWriters; ++rank) {
      CHECK(last[rank] == kLetters);  // alone in its place, no letter is given up
    }
  }
}

}  // namespace dsgd::server
