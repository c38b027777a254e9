#include <limits>  // for numeric_limits
#include <memory>  // for make_unique

#include "any_solver.hpp"
#include "dsgd/solver/clipped_gradient.hpp"
#include "dsgd/solver/delayed_sgd.hpp"
#include "dsgd/solver/hogwild.hpp"
#include "dsgd/solver/kmeans.hpp"
#include "dsgd/solver/minibatch.hpp"
#include "dsgd/solver/row_sgd.hpp"
#include "dsgd/solver/rows.hpp"
#include "dsgd/solver/sgd.hpp"
#include "dsgd/solver/svrg.hpp"
#include "pybind.hpp"

namespace dsgd::python {
namespace {

/// Calls `run(objective, weights)` with both as static types and the GIL released.
template <typename Run>
void with_weights(const Objective& self, const py::array& weights, Run&& run) {
  std::visit(
      [&](const auto& objective) {
        using Real = typename std::remove_cvref_t<decltype(objective)>::Real;
        const auto w = array_span<Real>(weights, "weights");
        const py::gil_scoped_release release;
        run(objective, w);
      },
      self.objective);
}

template <typename F>
using HogwildOf = Hogwild<F>;
template <typename F>
using DelayedSgdOf = DelayedSgd<typename F::Data>;
template <typename F>
using RowSgdOf = RowSgd<typename F::Data>;
template <typename F>
using SvrgOf = Svrg<typename F::Data>;

using DelayedSgdSolver = AnySolver<DelayedSgdOf, LinearObjectives>;
using HogwildSolver = AnySolver<HogwildOf, AnyObjective>;
using RowSgdSolver = AnySolver<RowSgdOf, LinearObjectives>;
using SvrgSolver = AnySolver<SvrgOf, LinearObjectives>;

/// Brings what a solver of named rows has left due in the weights.
template <typename Solver>
void settle(Solver& self, const py::array& weights) {
  self.with_weights(weights, [](auto& solver, auto w) { solver.settle(w); });
}

constexpr const char* kShares[] = {"whole", "pa1", "pa2"};

/// The size of all steps, or one of each.
using StepSizeArray = py::array_t<double, py::array::c_style | py::array::forcecast>;

std::span<const double> span_of(const StepSizeArray& step) {
  return {step.data(), static_cast<std::size_t>(step.size())};
}

void gradient_of_rows(const Objective& self, const py::array& weights, const py::array& rows,
                      const py::array& gradient) {
  std::visit(
      [&](const auto& objective) {
        using Real = typename std::remove_cvref_t<decltype(objective)>::Real;
        const auto w = array_span<const Real>(weights, "weights");
        const auto which = array_span<const std::int64_t>(rows, "rows");
        const auto sum = array_span<double>(gradient, "gradient");
        const py::gil_scoped_release release;
        rows_gradient(objective, w, which, sum);
      },
      self.objective);
}

std::size_t clipped_gradient_of_rows(const Linear& objective, const py::array& weights, const py::array& rows,
                                     double clip_norm, const py::array& gradient) {
  return visit_linear(objective, [&](const auto& f) {
    using Real = typename std::remove_cvref_t<decltype(f)>::Real;
    const auto w = array_span<const Real>(weights, "weights");
    const auto which = array_span<const std::int64_t>(rows, "rows");
    const auto sum = array_span<double>(gradient, "gradient");
    const py::gil_scoped_release release;
    return clipped_gradient(f, w, which, clip_norm, sum);
  });
}

py::array_t<std::int64_t> drawn_rows(std::size_t n_rows, std::size_t count, std::size_t block_size, std::uint64_t seed,
                                     std::size_t index, std::size_t stream) {
  py::array_t<std::int64_t> rows(static_cast<py::ssize_t>(count));
  draw_rows(n_rows, block_size, seed, index, stream, {rows.mutable_data(), count});
  return rows;
}

}  // namespace

void register_solver(py::module_& m) {
  py::class_<Schedule>(m, "Schedule", "Step sizes over a run; see schedule.hpp.")
      .def(py::init(
               [](double step_size, double decay, double rate, double power, double horizon, const std::string& share) {
                 return Schedule{step_size, decay, rate, power, horizon, named<Share>(kShares, share, "share")};
               }),
           py::kw_only(), py::arg("step_size"), py::arg("decay") = 1.0, py::arg("rate") = 1.0, py::arg("power") = 0.0,
           py::arg("horizon") = std::numeric_limits<double>::infinity(), py::arg("share") = "whole")
      .def("at", &Schedule::at, py::arg("t"), py::arg("epoch"))
      .def(
          "each",
          [](const Schedule& self, std::size_t t, std::size_t epoch, std::size_t count) {
            py::array_t<double> steps(static_cast<py::ssize_t>(count));
            self.each(t, epoch, {steps.mutable_data(), count});
            return steps;
          },
          py::arg("t"), py::arg("epoch"), py::arg("count"), "The step sizes of `count` samples, from t on.");

  py::class_<Epoch>(m, "Epoch", "The arguments of one epoch of a stochastic solver; see epoch.hpp.")
      .def(py::init([](std::size_t index, const Schedule& schedule, std::size_t block_size, std::uint64_t seed,
                       std::size_t offset) { return Epoch{index, schedule, block_size, seed, offset}; }),
           py::kw_only(), py::arg("index"), py::arg("schedule"), py::arg("block_size"), py::arg("seed"),
           py::arg("offset") = 0);

  m.def(
      "sgd_epoch",
      [](const Objective& objective, const py::array& weights, const Epoch& epoch,
         const std::optional<py::array>& visited, const std::optional<py::array>& drift, std::int64_t averaged,
         bool sum_loss) {
        const auto order = optional_span<std::int64_t>(visited, "visited");
        const Average average{optional_span<double>(drift, "drift"), averaged};
        double loss = 0;
        with_weights(objective, weights,
                     [&](const auto& f, auto w) { loss = sgd_epoch(f, w, epoch, order, average, sum_loss); });
        return loss;
      },
      py::arg("objective"), py::arg("weights"), py::arg("epoch"), py::arg("visited") = py::none(),
      py::arg("drift") = py::none(), py::arg("averaged") = 0, py::arg("sum_loss") = false);

  m.def(
      "minibatch_epoch",
      [](const Objective& objective, const py::array& weights, const Epoch& epoch, std::size_t batch_size,
         std::size_t n_threads, const std::optional<py::array>& visited, const std::optional<py::array>& drift,
         std::int64_t averaged, bool sum_loss) {
        const auto order = optional_span<std::int64_t>(visited, "visited");
        const Average average{optional_span<double>(drift, "drift"), averaged};
        double loss = 0;
        with_weights(objective, weights, [&](const auto& f, auto w) {
          loss = minibatch_epoch(f, w, epoch, batch_size, n_threads, order, average, sum_loss);
        });
        return loss;
      },
      py::arg("objective"), py::arg("weights"), py::arg("epoch"), py::arg("batch_size"), py::arg("n_threads"),
      py::arg("visited") = py::none(), py::arg("drift") = py::none(), py::arg("averaged") = 0,
      py::arg("sum_loss") = false);

  m.def(
      "minibatch_step",
      [](const Objective& objective, const py::array& weights, const py::array& rows, double step,
         std::size_t batch_size, std::size_t index, std::size_t n_threads) {
        const auto which = array_span<const std::int64_t>(rows, "rows");
        with_weights(objective, weights,
                     [&](const auto& f, auto w) { minibatch_step(f, w, which, step, batch_size, index, n_threads); });
      },
      py::arg("objective"), py::arg("weights"), py::arg("rows"), py::arg("step"), py::arg("batch_size"),
      py::arg("index"), py::arg("n_threads"));

  m.def("rows_gradient", &gradient_of_rows, py::arg("objective"), py::arg("weights"), py::arg("rows"),
        py::arg("gradient"));
  m.def("clipped_gradient", &clipped_gradient_of_rows, py::arg("objective"), py::arg("weights"), py::arg("rows"),
        py::arg("clip_norm"), py::arg("gradient"));
  m.def("draw_rows", &drawn_rows, py::arg("n_rows"), py::arg("count"), py::kw_only(), py::arg("block_size"),
        py::arg("seed"), py::arg("index"), py::arg("stream"));

  py::class_<RowSgdSolver>(m, "RowSgd", "Stochastic gradient descent on named rows; see row_sgd.hpp.")
      .def(py::init([](const Linear& objective, std::size_t delay) {
             return std::make_unique<RowSgdSolver>(objective, delay);
           }),
           py::arg("objective"), py::kw_only(), py::arg("delay") = 0, py::keep_alive<1, 2>())
      .def(
          "steps",
          [](RowSgdSolver& self, const py::array& weights, const py::array& rows, const StepSizeArray& step,
             std::size_t index) {
            const auto which = array_span<const std::int64_t>(rows, "rows");
            const auto sizes = span_of(step);
            self.with_weights(weights, [&](auto& solver, auto w) { solver.steps(w, which, sizes, index); });
          },
          py::arg("weights"), py::arg("rows"), py::arg("step"), py::arg("index"))
      .def("settle", &settle<RowSgdSolver>, py::arg("weights"));

  py::class_<DelayedSgdSolver>(m, "DelayedSgd", "Delayed gradients that are tested; see delayed_sgd.hpp.")
      .def(py::init(
               [](const Linear& objective, std::size_t delay, std::size_t most_retries, bool strict, double curvature) {
                 return std::make_unique<DelayedSgdSolver>(objective,
                                                           DelayedSgdConfig{delay, most_retries, strict, curvature});
               }),
           py::arg("objective"), py::kw_only(), py::arg("delay"), py::arg("most_retries"), py::arg("strict"),
           py::arg("curvature"), py::keep_alive<1, 2>())
      .def(
          "steps",
          [](DelayedSgdSolver& self, const py::array& weights, const py::array& rows, const StepSizeArray& step,
             const py::array& fates) {
            const auto which = array_span<const std::int64_t>(rows, "rows");
            const auto sizes = span_of(step);
            const auto out = array_span<std::uint8_t>(fates, "fates");
            self.with_weights(weights, [&](auto& solver, auto w) { solver.steps(w, which, sizes, out); });
          },
          py::arg("weights"), py::arg("rows"), py::arg("step"), py::arg("fates"))
      .def("settle", &settle<DelayedSgdSolver>, py::arg("weights"));

  py::class_<HogwildSolver>(m, "Hogwild", "Hogwild! on an objective; see hogwild.hpp.")
      .def(py::init([](const Objective& objective, std::size_t n_threads, const std::string& write,
                       std::size_t merge_visits, bool record_delay, bool sum_loss) {
             return std::make_unique<HogwildSolver>(
                 objective, HogwildConfig{n_threads, write, merge_visits, record_delay, sum_loss});
           }),
           py::arg("objective"), py::kw_only(), py::arg("n_threads"), py::arg("write"), py::arg("merge_visits") = 0,
           py::arg("record_delay") = false, py::arg("sum_loss") = false, py::keep_alive<1, 2>())
      .def(
          "epoch",
          [](HogwildSolver& self, const py::array& weights, const Epoch& epoch) {
            return self.with_weights(weights, [&](auto& solver, auto w) { return solver.epoch(w, epoch); });
          },
          py::arg("weights"), py::arg("epoch"))
      .def_property_readonly("delays", [](const HogwildSolver& self) {
        const auto counts = std::visit([](const auto& solver) { return solver->delays(); }, self.solver);
        return py::array_t<std::uint64_t>(static_cast<py::ssize_t>(counts.size()), counts.data());
      });

  py::class_<SvrgSolver>(m, "Svrg", "DisSVRG on one machine; see svrg.hpp.")
      .def(py::init([](const Linear& objective, std::size_t n_threads, const std::string& mean_gradient,
                       double max_sigma, double longest_step) {
             return std::make_unique<SvrgSolver>(objective,
                                                 SvrgConfig{n_threads, mean_gradient, max_sigma, longest_step});
           }),
           py::arg("objective"), py::kw_only(), py::arg("n_threads"), py::arg("mean_gradient"),
           py::arg("max_sigma") = 0.0, py::arg("longest_step") = std::numeric_limits<double>::infinity(),
           py::keep_alive<1, 2>())
      .def(
          "begin",
          [](SvrgSolver& self, const Epoch& epoch) {
            std::visit([&](const auto& solver) { solver->begin(epoch); }, self.solver);
          },
          py::arg("epoch"))
      .def(
          "take_anchor",
          [](SvrgSolver& self, const py::array& weights, bool with_loss) {
            return self.with_weights(weights, [&](auto& solver, auto w) { return solver.take_anchor(w, with_loss); });
          },
          py::arg("weights"), py::arg("with_loss") = false)
      .def(
          "descend",
          [](SvrgSolver& self, const py::array& weights, double step, std::size_t count,
             const std::optional<py::array>& visited) {
            const auto order = optional_span<std::int64_t>(visited, "visited");
            self.with_weights(weights, [&](auto& solver, auto w) { solver.descend(w, step, count, order); });
          },
          py::arg("weights"), py::arg("step"), py::arg("count"), py::arg("visited") = py::none())
      .def(
          "use_mean",
          [](SvrgSolver& self, const py::array& mean, const std::optional<py::array>& inverse_frequency) {
            std::visit(
                [&](const auto& solver) {
                  using Real = typename std::remove_cvref_t<decltype(*solver)>::Real;
                  solver->use_mean(array_span<const Real>(mean, "mean"),
                                   optional_span<const Real>(inverse_frequency, "inverse_frequency"));
                },
                self.solver);
          },
          py::arg("mean"), py::arg("inverse_frequency") = py::none())
      .def(
          "descend_rows",
          [](SvrgSolver& self, const py::array& weights, double step, const py::array& rows) {
            const auto which = array_span<const std::int64_t>(rows, "rows");
            self.with_weights(weights, [&](auto& solver, auto w) { solver.descend_rows(w, step, which); });
          },
          py::arg("weights"), py::arg("step"), py::arg("rows"))
      .def_property_readonly("mean_gradient", [](const SvrgSolver& self) {
        const auto mean = std::visit([](const auto& solver) { return solver->mean_gradient(); }, self.solver);
        return py::array_t<double>(static_cast<py::ssize_t>(mean.size()), mean.data());
      });
}

}  // namespace dsgd::python
