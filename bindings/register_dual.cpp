// Dual coordinate ascent, and lower bounds of the optimum.
#include <memory>  // for make_unique

#include "any_solver.hpp"
#include "dsgd/solver/dual_point.hpp"
#include "dsgd/solver/sdca.hpp"
#include "pybind.hpp"

namespace dsgd::python {
namespace {

template <typename F>
using DualPointOf = DualPoint<typename F::Data>;
template <typename F>
using SdcaOf = Sdca<typename F::Data>;

using DualPointOfAny = AnySolver<DualPointOf, LinearObjectives>;
using SdcaSolver = AnySolver<SdcaOf, LinearObjectives>;

}  // namespace

void register_dual(py::module_& m) {
  py::class_<SdcaEpoch>(m, "SdcaEpoch", "The result of an epoch of dual coordinate ascent; see sdca.hpp.")
      .def_readonly("visits", &SdcaEpoch::visits)
      .def_readonly("gap", &SdcaEpoch::gap)
      .def_readonly("loss", &SdcaEpoch::loss);

  py::class_<SdcaSolver>(m, "Sdca", "Stochastic dual coordinate ascent on an objective; see sdca.hpp.")
      .def(py::init([](const Linear& objective, std::size_t n_threads, std::size_t merge_visits, double damping,
                       std::size_t max_rest, bool sgd_first, bool sum_loss) {
             return std::make_unique<SdcaSolver>(
                 objective, SdcaConfig{n_threads, merge_visits, damping, max_rest, sgd_first, sum_loss});
           }),
           py::arg("objective"), py::kw_only(), py::arg("n_threads"), py::arg("merge_visits"), py::arg("damping"),
           py::arg("max_rest"), py::arg("sgd_first"), py::arg("sum_loss") = false, py::keep_alive<1, 2>())
      .def(
          "begin",
          [](SdcaSolver& self, const py::array& weights) {
            self.with_weights(weights, [](auto& solver, auto w) { solver.begin(w); });
          },
          py::arg("weights"))
      .def(
          "begin_at",
          [](SdcaSolver& self, const py::array& duals, const py::array& weights) {
            const auto beta = array_span<const double>(duals, "duals");
            return self.with_weights(weights, [&](auto& solver, auto w) { return solver.begin(beta, w); });
          },
          py::arg("duals"), py::arg("weights"))
      .def(
          "epoch",
          [](SdcaSolver& self, const py::array& weights, const Epoch& epoch, bool measure_gap,
             const std::optional<py::array>& visited) {
            const auto order = optional_span<std::int64_t>(visited, "visited");
            return self.with_weights(weights,
                                     [&](auto& solver, auto w) { return solver.epoch(w, epoch, measure_gap, order); });
          },
          py::arg("weights"), py::arg("epoch"), py::arg("measure_gap") = false, py::arg("visited") = py::none())
      .def(
          "rebuild",
          [](SdcaSolver& self, const py::array& weights) {
            return self.with_weights(weights, [](auto& solver, auto w) { return solver.rebuild(w); });
          },
          py::arg("weights"))
      .def("wake", [](SdcaSolver& self) { std::visit([](const auto& solver) { solver->wake(); }, self.solver); })
      .def_property_readonly("duals", [](const SdcaSolver& self) {
        return std::visit(
            [](const auto& solver) -> py::array {
              const auto duals = solver->duals();
              return py::array_t(static_cast<py::ssize_t>(duals.size()), duals.data());
            },
            self.solver);
      });

  py::class_<DualPointOfAny>(m, "DualPoint", "A lower bound of the optimum; see dual_point.hpp.")
      .def(py::init([](const Linear& objective, std::size_t n_threads) {
             return std::make_unique<DualPointOfAny>(objective, n_threads);
           }),
           py::arg("objective"), py::kw_only(), py::arg("n_threads"), py::keep_alive<1, 2>())
      .def(
          "look",
          [](DualPointOfAny& self, const py::array& weights) {
            return self.with_weights(weights, [](auto& point, auto w) { return point.look(w); });
          },
          py::arg("weights"))
      .def(
          "look_at",
          [](DualPointOfAny& self, const py::array& duals) {
            self.with_weights(duals, [](auto& point, auto beta) { point.look_at(beta); });
          },
          py::arg("duals"))
      .def_property_readonly("value",
                             [](const DualPointOfAny& self) {
                               return std::visit([](const auto& point) { return point->value(); }, self.solver);
                             })
      .def_property_readonly("duals", [](const DualPointOfAny& self) {
        const auto duals = std::visit([](const auto& point) { return point->duals(); }, self.solver);
        return py::array_t<double>(static_cast<py::ssize_t>(duals.size()), duals.data());
      });
}

}  // namespace dsgd::python
