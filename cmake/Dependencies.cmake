set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

if(DSGD_OPENMP)
  find_package(OpenMP COMPONENTS CXX)
  if(NOT OpenMP_CXX_FOUND)
    message(FATAL_ERROR "The compiler has no OpenMP. Install it (Debian: apt-get install g++; macOS: brew install libomp) "
      "or configure with -DDSGD_OPENMP=OFF to run on std::thread.")
  endif()
endif()

find_path(ASIO_INCLUDE_DIR asio/awaitable.hpp)
find_package(OpenSSL 3.0 COMPONENTS SSL Crypto)
if(NOT ASIO_INCLUDE_DIR OR NOT OpenSSL_FOUND)
  message(FATAL_ERROR "The network needs Asio 1.22 or later and OpenSSL 3 or later. Install them (Debian: apt-get install "
    "libasio-dev libssl-dev; macOS: brew install asio openssl@3).")
endif()

if(DSGD_PYTHON)
  find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)
  find_package(pybind11 CONFIG REQUIRED)
endif()

if(DSGD_TESTS)
  find_path(DOCTEST_INCLUDE_DIR doctest/doctest.h)
  if(NOT DOCTEST_INCLUDE_DIR)
    message(FATAL_ERROR "doctest/doctest.h is missing. Install it (Debian: apt-get install doctest-dev).")
  endif()
endif()
