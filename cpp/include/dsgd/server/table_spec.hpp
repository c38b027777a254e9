// The specification of a table. Server and workers are given the same list of tables, and split
// them over the shards in the same way.
#pragma once

#include <cstddef>  // for size_t
#include <cstdint>  // for uint64_t
#include <span>     // for span
#include <string>   // for string

#include "dsgd/net/values.hpp"

namespace dsgd::server {

/// The effect of a push; see update_rule.hpp.
enum class Rule : std::uint8_t { add, add_scaled, replace_mean, average, adagrad, blend };

struct TableSpec {
  std::string name;
  std::uint64_t size = 0;  // rows
  net::DType dtype = net::DType::float64;
  Rule rule = Rule::add;
  std::uint64_t width = 1;  // values per row
  double step_size = 1;     // of the rule adagrad
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

/// A checksum of the tables and the number of shards.
[[nodiscard]] std::uint64_t layout_of(std::span<const TableSpec> tables, std::size_t n_shards);

/// The largest length of a valid message, in bytes: all rows of the largest table with keys, and 64
/// MB more for states, letters and all-reduces.
[[nodiscard]] std::size_t longest_message(std::span<const TableSpec> tables);

}  // namespace dsgd::server
