// The saved state of a server: arrays with names, which Python stores as safetensors.
#pragma once

#include <cstddef>  // for byte
#include <cstdint>  // for uint64_t
#include <map>      // for map
#include <string>   // for string
#include <variant>  // for variant
#include <vector>   // for vector

#include "dsgd/core/error.hpp"

namespace dsgd::server {

using SavedArray =
    std::variant<std::vector<float>, std::vector<double>, std::vector<std::uint64_t>, std::vector<std::byte>>;
using Checkpoint = std::map<std::string, SavedArray>;

/// The array called `name`. Throws Error(data) if the checkpoint has no such array of this type.
template <typename T>
const std::vector<T>& saved(const Checkpoint& checkpoint, const std::string& name) {
  const auto at = checkpoint.find(name);
  if (at == checkpoint.end()) throw Error(ErrorCode::data, "the checkpoint has no array '" + name + "'");
  const auto* array = std::get_if<std::vector<T>>(&at->second);
  if (array == nullptr) throw Error(ErrorCode::data, "array '" + name + "' of the checkpoint has another type");
  return *array;
}

/// The same for an array that must have `size` elements.
template <typename T>
const std::vector<T>& saved(const Checkpoint& checkpoint, const std::string& name, std::size_t size) {
  const auto& array = saved<T>(checkpoint, name);
  if (array.size() != size) {
    throw Error(ErrorCode::data, "array '" + name + "' of the checkpoint has " + std::to_string(array.size()) +
                                     " elements; expected " + std::to_string(size));
  }
  return array;
}

}  // namespace dsgd::server
