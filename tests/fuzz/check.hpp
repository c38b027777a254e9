// What a fuzz target demands of the code under test.
#pragma once

#include <cstdio>   // for fputs
#include <cstdlib>  // for abort

namespace dsgd::fuzz {

/// Ends the process when a property does not hold, which libFuzzer and ctest report as a failure.
inline void check(bool holds, const char* property) {
  if (holds) return;
  std::fputs("does not hold: ", stderr);
  std::fputs(property, stderr);
  std::fputc('\n', stderr);
  std::abort();
}

}  // namespace dsgd::fuzz
