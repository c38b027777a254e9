#include <concepts>  // for same_as
#include <utility>   // for move

#include "dsgd/data/renumber.hpp"
#include "pybind.hpp"

namespace dsgd::python {
namespace {

Linear linear_objective(const Matrix& X, const py::array& y, const std::optional<py::array>& sample_weight,
                        const LossConfig& loss, double alpha_l1, double alpha_l2, bool fit_intercept,
                        double intercept_rate, std::size_t n_threads,
                        const std::optional<py::array>& inverse_frequency) {
  return std::visit(
      [&](const auto& view) -> Linear {
        using Data = std::remove_cvref_t<decltype(view)>;
        using Real = typename Data::Real;
        const auto targets = array_span<const Real>(y, "y");
        std::span<const Real> importance;
        if (sample_weight) importance = array_span<const Real>(*sample_weight, "sample_weight");
        std::span<const Real> inverse;
        if (inverse_frequency) inverse = array_span<const Real>(*inverse_frequency, "inverse_frequency");
        py::tuple arrays = py::make_tuple(X.arrays, y, sample_weight);
        const py::gil_scoped_release release;
        return {{LinearObjective<Data>(view, targets, importance,
                                       {loss, alpha_l1, alpha_l2, fit_intercept, intercept_rate}, n_threads, inverse),
                 std::move(arrays)}};
      },
      X.view);
}

Quantisation quantisation_objective(const Matrix& X, const std::optional<py::array>& sample_weight,
                                    std::size_t n_clusters) {
  return std::visit(
      [&](const auto& view) -> Quantisation {
        using Data = std::remove_cvref_t<decltype(view)>;
        std::span<const typename Data::Real> importance;
        if (sample_weight) importance = array_span<const typename Data::Real>(*sample_weight, "sample_weight");
        return {{QuantisationObjective<Data>(view, importance, n_clusters), py::make_tuple(X.arrays, sample_weight)}};
      },
      X.view);
}

/// Calls `f` with the objective of k-means as a static type.
template <typename F>
void visit_quantisation(const Quantisation& self, F&& f) {
  std::visit(
      [&]<typename Any>(const Any& objective) {
        if constexpr (!kIsLinear<Any>) f(objective);
      },
      self.objective);
}

/// Calls `run(objective, weights, labels)` with the GIL released, and returns the labels: one for every row.
template <typename Run>
py::array_t<std::int32_t> labels_by(const Quantisation& self, const py::array& weights, Run&& run) {
  py::array_t<std::int32_t> out;
  visit_quantisation(self, [&](const auto& objective) {
    using Real = typename std::remove_cvref_t<decltype(objective)>::Real;
    const auto w = array_span<const Real>(weights, "weights");
    out = py::array_t<std::int32_t>(static_cast<py::ssize_t>(objective.X().rows()));
    const std::span<std::int32_t> labels(out.mutable_data(), objective.X().rows());
    const py::gil_scoped_release release;
    run(objective, w, labels);
  });
  return out;
}

py::array_t<std::int32_t> nearest_centres(const Quantisation& self, const py::array& weights, std::size_t n_threads) {
  return labels_by(self, weights,
                   [&](const auto& objective, auto w, auto labels) { objective.assign(w, labels, n_threads); });
}

/// The numbers of the nearest centres, and the value of the objective, from one reading of the rows.
py::tuple labels_and_value(const Quantisation& self, const py::array& weights, std::size_t n_threads) {
  double value = 0;
  auto labels = labels_by(self, weights,
                          [&](const auto& objective, auto w, auto out) { value = objective.value(w, n_threads, out); });
  return py::make_tuple(std::move(labels), value);
}

py::array_t<double> distances(const Quantisation& self, const py::array& weights, std::size_t n_threads) {
  py::array_t<double> out;
  visit_quantisation(self, [&](const auto& objective) {
    using Real = typename std::remove_cvref_t<decltype(objective)>::Real;
    const auto w = array_span<const Real>(weights, "weights");
    const std::size_t rows = objective.X().rows();
    out = py::array_t<double>({rows, objective.n_clusters()});
    const std::span<double> each(out.mutable_data(), rows * objective.n_clusters());
    const py::gil_scoped_release release;
    objective.distances(w, each, n_threads);
  });
  return out;
}

Linear with_target(const Linear& self, const py::array& y) {
  return visit_linear(self, [&]<typename Data>(const LinearObjective<Data>& objective) -> Linear {
    const auto targets = array_span<const typename Data::Real>(y, "y");
    return {{objective.with_target(targets), py::make_tuple(self.arrays, y)}};
  });
}

/// Calls `f(objective, weights)` with both as static types and the GIL released.
template <typename F>
double evaluate(const Objective& self, const py::array& weights, F&& f) {
  return std::visit(
      [&](const auto& objective) -> double {
        using Real = typename std::remove_cvref_t<decltype(objective)>::Real;
        const auto w = array_span<const Real>(weights, "weights");
        const py::gil_scoped_release release;
        return f(objective, w);
      },
      self.objective);
}

double value(const Objective& self, const py::array& weights, std::size_t n_threads) {
  return evaluate(self, weights, [&](const auto& objective, auto w) { return objective.value(w, n_threads); });
}

double mean_loss(const Objective& self, const py::array& weights, std::size_t n_threads) {
  return evaluate(self, weights, [&](const auto& objective, auto w) { return objective.mean_loss(w, n_threads); });
}

void loss_gradient(const Objective& self, const py::array& weights, const py::array& out, std::size_t n_threads) {
  std::visit(
      [&](const auto& objective) {
        using Real = typename std::remove_cvref_t<decltype(objective)>::Real;
        const auto w = array_span<const Real>(weights, "weights");
        const auto gradient = array_span<double>(out, "out");
        const py::gil_scoped_release release;
        objective.loss_gradient(w, gradient, n_threads);
      },
      self.objective);
}

py::array_t<std::int64_t> order_of(const Linear& self) {
  return visit_linear(self, [](const auto& objective) {
    py::array_t<std::int64_t> order(static_cast<py::ssize_t>(objective.inverse_frequency().size()));
    const std::span<std::int64_t> features(order.mutable_data(), objective.inverse_frequency().size());
    const py::gil_scoped_release release;
    frequency_order(objective.inverse_frequency(), features);
    return order;
  });
}

py::object inverse_frequency_of(const Linear& self) {
  return visit_linear(self, []<typename Data>(const LinearObjective<Data>& objective) -> py::object {
    const auto inverse = objective.inverse_frequency();
    if constexpr (!Data::kSparse) return py::none();
    return py::array_t<typename Data::Real>(static_cast<py::ssize_t>(inverse.size()), inverse.data());
  });
}

Linear renumbered(const Linear& self, const Matrix& X, const py::array& order) {
  const auto features = array_span<const std::int64_t>(order, "order");
  return visit_linear(self, [&]<typename From>(const LinearObjective<From>& objective) -> Linear {
    return std::visit(
        [&]<typename To>(const To& view) -> Linear {
          if constexpr (From::kSparse && To::kSparse && std::same_as<typename From::Real, typename To::Real>) {
            return {{LinearObjective<To>(objective, view, features), py::make_tuple(self.arrays, X.arrays)}};
          } else {
            throw Error(ErrorCode::config, "a matrix of another type than the objective's");
          }
        },
        X.view);
  });
}

}  // namespace

void register_objective(py::module_& m) {
  py::class_<LossConfig>(m, "Loss", "A loss of the decision values z and the target y.")
      .def(py::init<std::string, double, std::size_t>(), py::arg("name"), py::arg("epsilon"), py::arg("n_outputs") = 1)
      .def(
          "value",
          [](const LossConfig& self, const py::array_t<double>& z, const py::array_t<double>& y) -> py::object {
            return visit_scalar_loss(self, [&](auto loss) -> py::object {
              return py::vectorize([loss](double a, double b) { return loss.value(a, b); })(z, y);
            });
          },
          py::arg("z"), py::arg("y"))
      .def(
          "derivative",
          [](const LossConfig& self, const py::array_t<double>& z, const py::array_t<double>& y) -> py::object {
            return visit_scalar_loss(self, [&](auto loss) -> py::object {
              return py::vectorize([loss](double a, double b) { return loss.derivative(a, b); })(z, y);
            });
          },
          py::arg("z"), py::arg("y"));

  py::class_<Objective>(m, "Objective", "The mean loss of a model on some rows, plus the penalty; see objective.hpp.")
      .def("value", &value, py::arg("weights"), py::arg("n_threads"))
      .def("mean_loss", &mean_loss, py::arg("weights"), py::arg("n_threads"))
      .def("loss_gradient", &loss_gradient, py::arg("weights"), py::arg("out"), py::arg("n_threads"));

  py::class_<Linear, Objective>(m, "LinearObjective", "The objective of a linear model; see linear.hpp.")
      .def(py::init(&linear_objective), py::arg("X"), py::arg("y"), py::arg("sample_weight"), py::kw_only(),
           py::arg("loss"), py::arg("alpha_l1"), py::arg("alpha_l2"), py::arg("fit_intercept"),
           py::arg("intercept_rate") = 1.0, py::arg("n_threads"), py::arg("inverse_frequency") = py::none())
      .def_property_readonly("inverse_frequency", &inverse_frequency_of)
      .def("frequency_order", &order_of)
      .def("renumbered", &renumbered, py::arg("X"), py::arg("order"))
      .def("with_target", &with_target, py::arg("y"));

  py::class_<Quantisation, Objective>(m, "QuantisationObjective", "The objective of k-means; see quantisation.hpp.")
      .def(py::init(&quantisation_objective), py::arg("X"), py::arg("sample_weight"), py::kw_only(),
           py::arg("n_clusters"))
      .def("assign", &nearest_centres, py::arg("weights"), py::arg("n_threads"))
      .def("labels_and_value", &labels_and_value, py::arg("weights"), py::arg("n_threads"))
      .def("distances", &distances, py::arg("weights"), py::arg("n_threads"));
}

}  // namespace dsgd::python
