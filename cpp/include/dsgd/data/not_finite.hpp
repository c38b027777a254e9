// The error of a matrix entry that is infinite or not a number.
#pragma once

#include <cstddef>  // for size_t
#include <string>   // for to_string

#include "dsgd/core/error.hpp"

namespace dsgd {

[[noreturn]] inline void fail_not_finite(std::size_t row, std::size_t column, double value) {
  throw Error(ErrorCode::data, "X[" + std::to_string(row) + ", " + std::to_string(column) + "] is " +
                                   std::to_string(value) + "; fill in or leave out what is not a finite number");
}

}  // namespace dsgd
