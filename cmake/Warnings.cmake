add_library(dsgd_warnings INTERFACE)
# -Wno-restrict: GCC 12 warns of its own std::string operator+ (GCC bug 105651).
target_compile_options(dsgd_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Woverloaded-virtual
  -Wnon-virtual-dtor -Wcast-align -Wnull-dereference $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  $<$<BOOL:${DSGD_WERROR}>:-Werror>)
