#include <algorithm>  // for max, transform
#include <limits>     // for numeric_limits
#include <utility>    // for pair

#include "dsgd/objective/renumber.hpp"
#include "pybind.hpp"

namespace dsgd::python {
namespace {

Objective linear_objective(const Matrix& X, const py::array& y, const std::optional<py::array>& sample_weight,
                           const LossConfig& loss, double alpha_l1, double alpha_l2, bool fit_intercept,
                           double intercept_rate, std::size_t n_threads) {
  return std::visit(
      [&](const auto& view) -> Objective {
        using Data = std::remove_cvref_t<decltype(view)>;
        using Real = typename Data::Real;
        const auto targets = array_span<const Real>(y, "y");
        std::span<const Real> importance;
        if (sample_weight) importance = array_span<const Real>(*sample_weight, "sample_weight");
        py::tuple arrays = py::make_tuple(X.arrays, y, sample_weight);
        const py::gil_scoped_release release;
        return {LinearObjective<Data>(view, targets, importance,
                                      {loss, alpha_l1, alpha_l2, fit_intercept, intercept_rate}, n_threads),
                std::move(arrays)};
      },
      X.view);
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

/// The objective with its features numbered by falling frequency and the narrowest indices, the values where they are;
/// and the order: element r is the feature that is r from now on.
template <typename Real, typename Index, typename To>
std::pair<Objective, py::array> renumbered_to(const LinearObjective<CsrView<Real, Index>>& objective,
                                              const py::object& arrays, std::size_t n_threads) {
  const auto& X = objective.X();
  py::array_t<std::int64_t> order(static_cast<py::ssize_t>(X.features()));
  py::array_t<To> indices(static_cast<py::ssize_t>(X.nonzeros()));
  py::array_t<To> indptr(static_cast<py::ssize_t>(X.indptr().size()));
  const std::span<std::int64_t> order_span(order.mutable_data(), X.features());
  const std::span<To> columns(indices.mutable_data(), X.nonzeros());
  const std::span<To> starts(indptr.mutable_data(), X.indptr().size());
  py::tuple owners = py::make_tuple(arrays, indptr, indices);
  const py::gil_scoped_release release;
  frequency_order(objective.inverse_frequency(), order_span);
  renumber(X.indices(), std::span<const std::int64_t>(order_span), columns, n_threads);
  std::transform(X.indptr().begin(), X.indptr().end(), starts.begin(), [](Index i) { return static_cast<To>(i); });
  using Data = CsrView<Real, To>;
  const Data data = Data::trusted(starts, columns, X.values(), X.features());
  LinearObjective<Data> result(objective, data, order_span);
  const py::gil_scoped_acquire acquire;
  return {Objective{std::move(result), std::move(owners)}, std::move(order)};
}

std::pair<Objective, py::array> renumbered(const Objective& self, std::size_t n_threads) {
  const auto f = [&]<typename Data>(const LinearObjective<Data>& objective) -> std::pair<Objective, py::array> {
    if constexpr (Data::kSparse) {
      using Real = typename Data::Real;
      using Index = typename Data::Index;
      constexpr auto kNarrow = static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max());
      if constexpr (sizeof(Index) > sizeof(std::int32_t)) {
        if (std::max(objective.X().features(), objective.X().nonzeros()) > kNarrow) {
          return renumbered_to<Real, Index, Index>(objective, self.arrays, n_threads);
        }
      }
      return renumbered_to<Real, Index, std::int32_t>(objective, self.arrays, n_threads);
    } else {
      throw Error(ErrorCode::config, "the features of a dense matrix are not renumbered: all are equally frequent");
    }
  };
  return std::visit(f, self.objective);
}

}  // namespace

void register_objective(py::module_& m) {
  py::class_<LossConfig>(m, "Loss", "A loss of the decision value z and the target y.")
      .def(py::init<std::string, double>(), py::arg("name"), py::arg("epsilon"))
      .def(
          "value",
          [](const LossConfig& self, const py::array_t<double>& z, const py::array_t<double>& y) -> py::object {
            return visit_loss(self, [&](auto loss) -> py::object {
              return py::vectorize([loss](double a, double b) { return loss.value(a, b); })(z, y);
            });
          },
          py::arg("z"), py::arg("y"))
      .def(
          "derivative",
          [](const LossConfig& self, const py::array_t<double>& z, const py::array_t<double>& y) -> py::object {
            return visit_loss(self, [&](auto loss) -> py::object {
              return py::vectorize([loss](double a, double b) { return loss.derivative(a, b); })(z, y);
            });
          },
          py::arg("z"), py::arg("y"));

  py::class_<Objective>(m, "LinearObjective", "Mean loss of a linear model on some rows, plus the penalty.")
      .def(py::init(&linear_objective), py::arg("X"), py::arg("y"), py::arg("sample_weight"), py::kw_only(),
           py::arg("loss"), py::arg("alpha_l1"), py::arg("alpha_l2"), py::arg("fit_intercept"),
           py::arg("intercept_rate") = 1.0, py::arg("n_threads"))
      .def("renumbered", &renumbered, py::arg("n_threads"))
      .def("value", &value, py::arg("weights"), py::arg("n_threads"))
      .def("mean_loss", &mean_loss, py::arg("weights"), py::arg("n_threads"))
      .def("loss_gradient", &loss_gradient, py::arg("weights"), py::arg("out"), py::arg("n_threads"));
}

}  // namespace dsgd::python
