add_library(dsgd_sanitizers INTERFACE)
if(DSGD_SANITIZE)
  if(DSGD_SANITIZE MATCHES "thread" AND DSGD_OPENMP)
    message(FATAL_ERROR "libgomp is not instrumented for the thread sanitizer: configure with -DDSGD_OPENMP=OFF as well")
  endif()
  target_compile_options(dsgd_sanitizers INTERFACE
    -fsanitize=${DSGD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)  # lines for backtraces, no variables
  # GCC loses track of std::variant in what it adds for the sanitizers, and warns of members that no alternative has.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(dsgd_sanitizers INTERFACE -Wno-maybe-uninitialized)
  endif()
  # Asio has fences, which the thread sanitizer does not understand; what it guards with them has locks, too.
  if(DSGD_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(dsgd_sanitizers INTERFACE -Wno-tsan)
  endif()
  target_link_options(dsgd_sanitizers INTERFACE -fsanitize=${DSGD_SANITIZE})
endif()
