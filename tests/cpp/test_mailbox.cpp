// Mailboxes: what their slots hold, and how letters are added up.
#include <doctest/doctest.h>

#include "dsgd/core/error.hpp"
#include "dsgd/server/mailbox.hpp"

namespace dsgd::server {
namespace {

using Doubles = std::vector<double>;

net::Values whole(Doubles data) { return {false, {}, std::move(data)}; }
net::Values some(net::Keys keys, Doubles data) { return {true, std::move(keys), std::move(data)}; }

MailboxLetter letter(std::uint32_t peer, double value, std::string name = "") {
  return {peer, static_cast<std::uint64_t>(value), std::move(name), whole({value})};
}

Doubles firsts(const std::vector<MailboxLetter>& letters) {
  Doubles values;
  for (const auto& one : letters) values.push_back(std::get<Doubles>(one.values.data)[0]);
  return values;
}

}  // namespace

TEST_CASE("without slots every letter is kept") {
  Mailbox mailbox(0, OnFull::overwrite);
  for (const double value : {3.0, 1.0, 2.0}) mailbox.put(letter(7, value));
  CHECK(firsts(mailbox.drain()) == Doubles{3, 1, 2});
  CHECK(mailbox.empty());
}

TEST_CASE("an unread letter is overwritten or added to, where slot and name are the same") {
  for (const OnFull on_full : {OnFull::overwrite, OnFull::sum}) {
    Mailbox mailbox(2, on_full);
    mailbox.put(letter(1, 1));
    mailbox.put(letter(2, 10));
    mailbox.put(letter(3, 100));  // slot 1, too, and the latest
    mailbox.put(letter(1, 1000, "other"));
    const auto letters = mailbox.drain();
    CHECK(firsts(letters) == (on_full == OnFull::sum ? Doubles{10, 101, 1000} : Doubles{10, 100, 1000}));
    CHECK(letters[1].peer == 3);
    CHECK(letters[1].number == 100);
    CHECK(mailbox.drain().empty());
  }
}

TEST_CASE("one slot is emptied alone") {
  Mailbox mailbox(8, OnFull::sum);
  mailbox.put(letter(1, 1));
  mailbox.put(letter(2, 10));
  mailbox.put(letter(1, 2));
  CHECK(firsts(mailbox.take(1)) == Doubles{3});
  CHECK(mailbox.take(1).empty());
  CHECK(firsts(mailbox.drain()) == Doubles{10});
}

TEST_CASE("letters of whole vectors and of rows are added up") {
  const auto sum = [](net::Values a, net::Values b) {
    add_values(a, std::move(b));
    return a;
  };
  const net::Values both = sum(some({1, 4}, {1, 2, 3, 4}), some({0, 4}, {10, 20, 30, 40}));
  CHECK(both.keys == net::Keys{0, 1, 4});
  CHECK(std::get<Doubles>(both.data) == Doubles{10, 20, 1, 2, 33, 44});
  for (const bool swapped : {false, true}) {
    net::Values a = whole({1, 2, 3});
    net::Values b = some({0, 2}, {10, 30});
    const net::Values c = swapped ? sum(b, a) : sum(a, b);
    CHECK(!c.sparse);
    CHECK(std::get<Doubles>(c.data) == Doubles{11, 2, 33});
  }
  CHECK(std::get<Doubles>(sum(whole({1, 2}), whole({3, 4})).data) == Doubles{4, 6});
  CHECK(sum(some({}, {}), some({5}, {7})).keys == net::Keys{5});
  CHECK(sum(some({5}, {7}), some({}, {})).keys == net::Keys{5});
}

TEST_CASE("what cannot be added up is refused") {
  const auto refused = [](net::Values a, net::Values b) { CHECK_THROWS_AS(add_values(a, std::move(b)), Error); };
  refused(whole({1, 2}), whole({1}));
  refused(whole({1, 2}), {false, {}, std::vector<float>{1, 2}});
  refused(whole({1, 2}), some({2}, {1}));
  refused(some({0}, {1, 2}), some({1}, {1}));
}

}  // namespace dsgd::server
