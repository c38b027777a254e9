#include "dsgd/server/table_spec.hpp"

#include <cmath>   // for isfinite
#include <limits>  // for numeric_limits
#include <set>     // for set

#include "dsgd/net/crc32c.hpp"

namespace dsgd::server {
namespace {

/// Largest number of values of a table. As float64 they would fill the address space of x86-64, so
/// that a larger number is a mistake.
constexpr std::uint64_t kMaxValues = std::uint64_t{1} << 44U;

[[noreturn]] void refuse(const TableSpec& table, const std::string& what) {
  throw Error(ErrorCode::config, "table '" + table.name + "': " + what);
}

}  // namespace

void check_tables(std::span<const TableSpec> tables) {
  if (tables.empty()) throw Error(ErrorCode::config, "a parameter server needs at least one table");
  if (tables.size() > std::numeric_limits<std::uint16_t>::max()) {
    throw Error(ErrorCode::config, std::to_string(tables.size()) + " tables; at most 65535 are possible");
  }
  std::set<std::string> names;
  for (const TableSpec& table : tables) {
    if (table.name.empty() || table.name.size() > 64) refuse(table, "the name must have 1 to 64 bytes");
    if (table.name.find('/') != std::string::npos) refuse(table, "the name must not contain '/'");
    if (!names.insert(table.name).second) refuse(table, "there are two of this name");
    if (table.width == 0) refuse(table, "width must be at least 1");
    if (table.size > kMaxValues / table.width) refuse(table, std::to_string(table.size) + " rows are too many");
    if (!std::isfinite(table.step_size) || table.step_size <= 0) {
      refuse(table, "step_size must be positive and finite, not " + std::to_string(table.step_size));
    }
  }
}

std::uint64_t layout_of(std::span<const TableSpec> tables, std::size_t n_shards) {
  std::string text = std::to_string(n_shards);
  for (const TableSpec& table : tables) {
    text += '/' + table.name + '/' + std::to_string(table.size) + '/' + std::to_string(table.width) + '/' +
            std::to_string(static_cast<int>(table.dtype)) + '/' + std::to_string(static_cast<int>(table.rule)) + '/' +
            std::to_string(table.step_size);
  }
  const std::uint64_t length = text.size();
  return (length << 32U) | net::crc32c(std::as_bytes(std::span(text)));
}

std::size_t longest_message(std::span<const TableSpec> tables) {
  constexpr std::uint64_t kBytesOfValue = 18;  // 8 for a float64, and at most 10 for its key
  std::uint64_t largest = 0;
  for (const TableSpec& table : tables) largest = std::max(largest, table.size * table.width);
  return static_cast<std::size_t>(largest * kBytesOfValue) + (std::size_t{64} << 20U);
}

}  // namespace dsgd::server
