// dsgd._core: the compiled half of dsgd. Nothing here is public; dsgd's Python layer validates and documents.
#include "dsgd/core/parallel.hpp"
#include "pybind.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of dsgd.";
  m.attr("__version__") = DSGD_VERSION;
  m.def(
      "backend", [] { return dsgd::backend() == dsgd::Backend::openmp ? "openmp" : "std_threads"; },
      "What runs the next team of threads of this process.");
  dsgd::python::register_errors(m);
  dsgd::python::register_data(m);
  dsgd::python::register_objective(m);
  dsgd::python::register_solver(m);
  dsgd::python::register_server(m);
  dsgd::python::register_net(m);
}
