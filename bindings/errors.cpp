// Translates dsgd::Error into a class of dsgd.errors, or into OSError for a failed system call.
#include "pybind.hpp"

namespace dsgd::python {
namespace {

/// The path as a str of Python. The bytes of a path need not be UTF-8.
py::object path_of(const Error& error) { return py::module_::import("os").attr("fsdecode")(py::bytes(error.file())); }

py::object exception_of(const Error& error) {
  if (error.code() == ErrorCode::io) {
    return py::module_::import("builtins").attr("OSError")(error.system_error(), error.what(), path_of(error));
  }
  const py::module_ errors = py::module_::import("dsgd.errors");
  if (error.code() == ErrorCode::config) return errors.attr("ConfigError")(error.what());
  if (error.code() == ErrorCode::protocol) return errors.attr("ProtocolError")(error.what());
  if (error.code() == ErrorCode::authentication) return errors.attr("AuthenticationError")(error.what());
  if (error.code() == ErrorCode::deadline) return errors.attr("DeadlineError")(error.what());
  if (!error.location()) return errors.attr("DataError")(error.what());
  return errors.attr("DataError")(error.what(), py::arg("file") = path_of(error),
                                  py::arg("line") = error.location()->line,
                                  py::arg("column") = error.location()->column);
}

void translate(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const Error& error) {
    const py::object exception = exception_of(error);
    PyErr_SetObject(py::type::of(exception).ptr(), exception.ptr());
  }
}

}  // namespace

void register_errors(py::module_& /*m*/) { py::register_local_exception_translator(translate); }

}  // namespace dsgd::python
