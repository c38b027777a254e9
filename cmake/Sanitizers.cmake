add_library(dsgd_sanitizers INTERFACE)
if(DSGD_SANITIZE)
  if(DSGD_SANITIZE MATCHES "thread" AND DSGD_OPENMP)
    message(FATAL_ERROR "libgomp is not instrumented for the thread sanitizer: configure with -DDSGD_OPENMP=OFF as well")
  endif()
  target_compile_options(dsgd_sanitizers INTERFACE
    -fsanitize=${DSGD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  target_link_options(dsgd_sanitizers INTERFACE -fsanitize=${DSGD_SANITIZE})
endif()
