add_library(dsgd_warnings INTERFACE)
# -Wno-pass-failed: under the sanitizers Clang leaves loops scalar that ask for vectors, a loss of speed alone.
# -Wno-restrict: GCC 12 warns of its own std::string operator+ (GCC bug 105651).
target_compile_options(dsgd_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Woverloaded-virtual
  -Wnon-virtual-dtor -Wcast-align -Wnull-dereference $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  $<$<CXX_COMPILER_ID:Clang>:-Wno-pass-failed>
  $<$<BOOL:${DSGD_WERROR}>:-Werror>)
