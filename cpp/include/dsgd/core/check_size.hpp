// The check of an array's size. All callers share its error message.
#pragma once

#include <cstddef>  // for size_t
#include <string>   // for string, to_string

#include "dsgd/core/error.hpp"

namespace dsgd {

/// Throws Error(config) unless the array called `what` has `expected` elements.
inline void check_size(const char* what, std::size_t size, std::size_t expected) {
  if (size == expected) return;
  throw Error(ErrorCode::config,
              std::string(what) + " has " + std::to_string(size) + " elements; expected " + std::to_string(expected));
}

}  // namespace dsgd
