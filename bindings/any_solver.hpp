// What the bindings of solvers share.
#pragma once

#include <memory>       // for make_unique, unique_ptr
#include <optional>     // for optional
#include <span>         // for span
#include <type_traits>  // for remove_cvref_t
#include <variant>      // for variant, visit

#include "pybind.hpp"

namespace dsgd::python {

/// A solver for any of the objectives that it can train.
template <template <typename> typename Solver, typename Objectives>
struct AnySolver;
template <template <typename> typename Solver, typename... Fs>
struct AnySolver<Solver, std::variant<Fs...>> {
  std::variant<std::unique_ptr<Solver<Fs>>...> solver;

  template <typename Config>
  AnySolver(const Objective& objective, const Config& config)
      : solver(
            std::visit([&]<typename F>(const F& f) { return decltype(solver)(std::make_unique<Solver<F>>(f, config)); },
                       objective.objective)) {}
  template <typename Config>
  AnySolver(const Linear& objective, const Config& config)
      : solver(visit_linear(objective, [&]<typename F>(const F& f) {
          return decltype(solver)(std::make_unique<Solver<F>>(f, config));
        })) {}

  /// Calls `run(solver, weights)` with both as static types and the GIL released.
  template <typename Run>
  auto with_weights(const py::array& weights, Run&& run) {
    return std::visit(
        [&](const auto& on) {
          using Real = typename std::remove_cvref_t<decltype(*on)>::Real;
          const auto w = array_span<Real>(weights, "weights");
          const py::gil_scoped_release release;
          return run(*on, w);
        },
        solver);
  }
};

/// The memory of an array; empty for None.
template <typename T>
std::span<T> optional_span(const std::optional<py::array>& array, const char* name) {
  return array ? array_span<T>(*array, name) : std::span<T>();
}

}  // namespace dsgd::python
