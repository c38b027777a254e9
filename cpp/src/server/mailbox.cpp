#include "dsgd/server/mailbox.hpp"

#include <algorithm>  // for max, sort
#include <span>       // for span
#include <string>     // for to_string
#include <utility>    // for move, swap

#include "dsgd/core/error.hpp"

namespace dsgd::server {
namespace {

[[noreturn]] void refuse_sum(const std::string& what) {
  throw Error(ErrorCode::config, "two letters to one slot cannot be added up: " + what);
}

/// The number of values per row.
std::size_t width_of(const net::Values& values) { return values.size() / std::max<std::size_t>(values.keys.size(), 1); }

template <typename Real>
void add_rows(std::vector<Real>& whole, const net::Keys& keys, std::span<const Real> rows, std::size_t width) {
  if (!keys.empty() && keys.back() >= whole.size() / std::max<std::size_t>(width, 1)) {
    refuse_sum("row " + std::to_string(keys.back()) + " of " + std::to_string(width) + " values is not one of the " +
               std::to_string(whole.size()) + " values of the other");
  }
  for (std::size_t row = 0; row < keys.size(); ++row) {
    for (std::size_t k = 0; k < width; ++k) whole[keys[row] * width + k] += rows[row * width + k];
  }
}

/// Merges the rows of both, in the order of keys. Adds the rows that both have.
template <typename Real>
void merge_rows(net::Values& into, const net::Values& more, std::size_t width) {
  const std::span<const Real> a = std::get<net::Array<Real>>(into.data);
  const std::span<const Real> b = std::get<net::Array<Real>>(more.data);
  net::Keys keys;
  std::vector<Real> data;
  keys.reserve(into.keys.size() + more.keys.size());
  data.reserve(a.size() + b.size());
  for (std::size_t i = 0, j = 0; i < into.keys.size() || j < more.keys.size();) {
    const bool has_a = i < into.keys.size() && (j == more.keys.size() || into.keys[i] <= more.keys[j]);
    const bool has_b = j < more.keys.size() && (i == into.keys.size() || more.keys[j] <= into.keys[i]);
    keys.push_back(has_a ? into.keys[i] : more.keys[j]);
    for (std::size_t k = 0; k < width; ++k) {
      data.push_back((has_a ? a[i * width + k] : Real{0}) + (has_b ? b[j * width + k] : Real{0}));
    }
    i += has_a ? 1 : 0;
    j += has_b ? 1 : 0;
  }
  into.keys = std::move(keys);
  into.data = std::move(data);
}

}  // namespace

void add_values(net::Values& into, net::Values more) {
  if (into.dtype() != more.dtype()) refuse_sum("one is of float32, the other of float64");
  if (into.sparse && !more.sparse) std::swap(into, more);
  std::visit(
      [&]<typename Real>(const net::Array<Real>& mine) {
        const std::span<const Real> other = std::get<net::Array<Real>>(more.data);
        if (into.sparse) {
          if (into.keys.empty()) {
            std::swap(into, more);
          } else if (!more.keys.empty()) {
            if (width_of(into) != width_of(more)) refuse_sum("their rows have different lengths");
            merge_rows<Real>(into, more, width_of(into));
          }
          return;
        }
        std::vector<Real> data(mine.begin(), mine.end());
        if (more.sparse) {
          add_rows(data, more.keys, other, width_of(more));
        } else {
          if (data.size() != other.size()) {
            refuse_sum("they have " + std::to_string(data.size()) + " and " + std::to_string(other.size()) + " values");
          }
          for (std::size_t k = 0; k < data.size(); ++k) data[k] += other[k];
        }
        into.data = std::move(data);
      },
      net::Numbers(into.data));
}

void Mailbox::put(MailboxLetter letter) {
  const std::uint64_t arrival = arrivals_++;
  const Key key = slots_ == 0 ? Key(arrival, "") : Key(letter.peer % slots_, letter.name);
  const auto [at, is_new] = places_.try_emplace(key, Place{arrival, letter});
  if (is_new) return;
  if (on_full_ == OnFull::sum) {
    add_values(at->second.letter.values, std::move(letter.values));
    letter.values = std::move(at->second.letter.values);
  } else {
    ++overwritten_;
  }
  at->second = {arrival, std::move(letter)};
}

std::vector<MailboxLetter> Mailbox::drain() {
  return take_where([](const Key& /*key*/) { return true; });
}

std::vector<MailboxLetter> Mailbox::take(std::uint32_t slot) {
  return take_where([slot](const Key& key) { return key.first == slot; });
}

template <typename Belongs>
std::vector<MailboxLetter> Mailbox::take_where(const Belongs& belongs) {
  std::vector<Place> taken;
  for (auto at = places_.begin(); at != places_.end();) {
    if (belongs(at->first)) {
      taken.push_back(std::move(at->second));
      at = places_.erase(at);
    } else {
      ++at;
    }
  }
  std::ranges::sort(taken, {}, &Place::arrival);
  std::vector<MailboxLetter> letters;
  letters.reserve(taken.size());
  for (Place& place : taken) letters.push_back(std::move(place.letter));
  return letters;
}

}  // namespace dsgd::server
