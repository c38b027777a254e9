#include "pybind.hpp"

namespace dsgd::python {
namespace {

Objective linear_objective(const Matrix& X, const py::array& y, const std::string& loss, const std::string& penalty,
                           double alpha, bool fit_intercept, std::size_t n_threads) {
  return std::visit(
      [&](const auto& view) -> Objective {
        using Data = std::remove_cvref_t<decltype(view)>;
        const auto targets = array_span<const typename Data::Real>(y, "y");
        py::tuple arrays = py::make_tuple(X.arrays, y);
        const py::gil_scoped_release release;
        return {LinearObjective<Data>(view, targets, {loss, penalty, alpha, fit_intercept}, n_threads),
                std::move(arrays)};
      },
      X.view);
}

double value(const Objective& self, const py::array& weights, std::size_t n_threads) {
  return std::visit(
      [&](const auto& objective) {
        using Real = typename std::remove_cvref_t<decltype(objective)>::Real;
        const auto w = array_span<const Real>(weights, "weights");
        const py::gil_scoped_release release;
        return objective.value(w, n_threads);
      },
      self.objective);
}

}  // namespace

void register_objective(py::module_& m) {
  py::class_<Objective>(m, "LinearObjective", "Mean loss of a linear model on some rows, plus the penalty.")
      .def(py::init(&linear_objective), py::arg("X"), py::arg("y"), py::kw_only(), py::arg("loss"), py::arg("penalty"),
           py::arg("alpha"), py::arg("fit_intercept"), py::arg("n_threads"))
      .def("value", &value, py::arg("weights"), py::arg("n_threads"));

  m.def(
      "loss_value",
      [](const std::string& name, const py::array_t<double>& z, const py::array_t<double>& y) -> py::object {
        return visit_loss(name, [&](auto loss) -> py::object {
          return py::vectorize([loss](double a, double b) { return loss.value(a, b); })(z, y);
        });
      },
      py::arg("loss"), py::arg("z"), py::arg("y"));
  m.def(
      "loss_derivative",
      [](const std::string& name, const py::array_t<double>& z, const py::array_t<double>& y) -> py::object {
        return visit_loss(name, [&](auto loss) -> py::object {
          return py::vectorize([loss](double a, double b) { return loss.derivative(a, b); })(z, y);
        });
      },
      py::arg("loss"), py::arg("z"), py::arg("y"));
}

}  // namespace dsgd::python
