// What a table is: both sides are given the same list, and split it over the shards alike.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for uint64_t
#include <span>     // for span
#include <string>   // for string

#include "dsgd/net/values.hpp"

namespace dsgd::server {

/// What a push does; see update_rule.hpp.
enum class Rule : std::uint8_t { add, add_scaled, replace_mean, average, adagrad, blend };

struct TableSpec {
  std::string name;
  std::uint64_t size = 0;  // rows
  net::DType dtype = net::DType::float64;
  Rule rule = Rule::add;
  std::uint64_t width = 1;  // values of a row
  double step_size = 1;     // of adagrad
};

/// The rows that one shard holds.
struct RowRange {
  std::uint64_t begin;
  std::uint64_t end;
};

inline RowRange rows_of_shard(std::uint64_t size, std::size_t shard, std::size_t n_shards) {
  const auto cut = [&](std::uint64_t k) {  // size * k / n_shards, without overflow
    return size / n_shards * k + size % n_shards * k / n_shards;
  };
  return {cut(shard), cut(shard + 1)};
}

/// Checks the list; throws Error(config).
void check_tables(std::span<const TableSpec> tables);

/// A number that differs when tables or shards do.
[[nodiscard]] std::uint64_t layout_of(std::span<const TableSpec> tables, std::size_t n_shards);

/// The bytes of the longest message that either side can mean: a whole table of rows with keys, and 64 MB for states,
/// letters and sums beside it.
[[nodiscard]] std::size_t longest_message(std::span<const TableSpec> tables);

}  // namespace dsgd::server
