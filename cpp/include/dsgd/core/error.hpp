// The one error type of the core. The bindings map its code to a class of dsgd.errors.
#pragma once

#include <cstddef>    // for size_t
#include <optional>   // for optional
#include <stdexcept>  // for runtime_error
#include <string>     // for string
#include <utility>    // for move

namespace dsgd {

enum class ErrorCode {
  config,          // a parameter has an impossible value
  data,            // the data cannot be trained on or parsed
  io,              // the operating system refused a file operation
  protocol,        // a peer sent bytes that are no valid frame or message
  authentication,  // a peer cannot prove that it belongs to this run
  deadline,        // a peer did not act in time
};

/// Where in a text file an error was found; both count from 1.
struct TextLocation {
  std::size_t line;
  std::size_t column;
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

  /// An error at one place of a text file.
  Error(std::string file, TextLocation location, const std::string& message)
      : std::runtime_error(message), code_(ErrorCode::data), file_(std::move(file)), location_(location) {}

  /// A failed system call on `file`, with its `errno`.
  Error(std::string file, int system_error, const std::string& message)
      : std::runtime_error(message), code_(ErrorCode::io), file_(std::move(file)), system_error_(system_error) {}

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  [[nodiscard]] const std::string& file() const noexcept { return file_; }
  [[nodiscard]] std::optional<TextLocation> location() const noexcept { return location_; }
  [[nodiscard]] int system_error() const noexcept { return system_error_; }

 private:
  ErrorCode code_;
  std::string file_;
  std::optional<TextLocation> location_;
  int system_error_ = 0;
};

}  // namespace dsgd
