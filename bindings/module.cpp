// dsgd._core, the compiled part of dsgd. It is not public: the Python package validates arguments
// and has the documentation.
#include "dsgd/core/parallel.hpp"
#include "pybind.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of dsgd.";
  m.attr("__version__") = DSGD_VERSION;
  m.def(
      "backend", [] { return dsgd::backend() == dsgd::Backend::openmp ? "openmp" : "std_threads"; },
      "The library that runs the threads of this process: openmp or std_threads.");
  dsgd::python::register_errors(m);
  dsgd::python::register_data(m);
  dsgd::python::register_objective(m);
  dsgd::python::register_solver(m);
  dsgd::python::register_dual(m);
  dsgd::python::register_server(m);
  dsgd::python::register_net(m);
  dsgd::python::register_window(m);
}
