// Includes pybind11, and holds the types and functions that the files of this folder share. Every
// one of these files includes it.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <span>     // for span
#include <string>   // for string
#include <variant>  // for variant

#include "dsgd/core/error.hpp"
#include "dsgd/data/matrix.hpp"
#include "dsgd/objective/linear.hpp"
#include "dsgd/objective/quantisation.hpp"

namespace dsgd::python {

namespace py = pybind11;

void register_errors(py::module_& m);
void register_data(py::module_& m);
void register_objective(py::module_& m);
void register_solver(py::module_& m);
void register_dual(py::module_& m);
void register_server(py::module_& m);
void register_net(py::module_& m);
void register_window(py::module_& m);

/// The memory of an array, which must have the dtype `T`, C order and alignment. Arrays are never
/// converted or copied. If `T` is not const the array must be writeable.
template <typename T>
std::span<T> array_span(const py::array& array, const char* name, py::ssize_t n_dimensions = 1) {
  using Element = std::remove_const_t<T>;
  if (!py::isinstance<py::array_t<Element>>(array)) {
    throw Error(ErrorCode::config, std::string(name) + " has dtype " + py::str(array.dtype()).cast<std::string>() +
                                       "; expected " + py::str(py::dtype::of<Element>()).cast<std::string>());
  }
  constexpr int kNeeded = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if (array.ndim() != n_dimensions || (array.flags() & kNeeded) != kNeeded) {
    throw Error(ErrorCode::config, std::string(name) + " must have " + std::to_string(n_dimensions) +
                                       " dimension(s), in C order and aligned");
  }
  const auto size = static_cast<std::size_t>(array.size());
  if constexpr (std::is_const_v<T>) {
    return {static_cast<const Element*>(array.data()), size};
  } else {
    if (!array.writeable()) throw Error(ErrorCode::config, std::string(name) + " is read-only");
    // NOLINTNEXTLINE: it is writeable, as the line above has checked
    return {static_cast<Element*>(const_cast<void*>(array.data())), size};
  }
}

/// The enumerator called `name`, where `names` holds the names of all enumerators in their order.
template <typename Enum, std::size_t Size>
Enum named(const char* const (&names)[Size], const std::string& name, const char* what) {
  std::string all;
  for (std::size_t k = 0; k < Size; ++k) {
    if (name == names[k]) return static_cast<Enum>(k);
    all += (k > 0 ? ", '" : "'") + std::string(names[k]) + "'";
  }
  throw Error(ErrorCode::config, "unknown " + std::string(what) + " '" + name + "'; possible are " + all);
}

/// The name of an enumerator.
template <std::size_t Size, typename Enum>
const char* name_of(const char* const (&names)[Size], Enum value) {
  return names[static_cast<std::size_t>(value)];
}

/// A matrix in the memory of numpy arrays. It keeps the arrays alive.
struct Matrix {
  MatrixView view;
  py::object arrays;
};

using LinearObjectives = std::variant<LinearObjective<CsrFloat32>, LinearObjective<CsrFloat64>,
                                      LinearObjective<DenseFloat32>, LinearObjective<DenseFloat64>>;

using AnyObjective =
    std::variant<LinearObjective<CsrFloat32>, LinearObjective<CsrFloat64>, LinearObjective<DenseFloat32>,
                 LinearObjective<DenseFloat64>, QuantisationObjective<CsrFloat32>, QuantisationObjective<CsrFloat64>,
                 QuantisationObjective<DenseFloat32>, QuantisationObjective<DenseFloat64>>;

/// An objective on a Matrix and targets, whose arrays it keeps alive. A new kind of objective needs
/// a new alternative of the variant, and a derived class for its constructor and its own methods.
struct Objective {
  AnyObjective objective;
  py::object arrays;
};

struct Linear : Objective {};
struct Quantisation : Objective {};

template <typename T>
inline constexpr bool kIsLinear = false;
template <typename Data>
inline constexpr bool kIsLinear<LinearObjective<Data>> = true;

/// Calls `f` with the linear objective as a static type.
template <typename F>
auto visit_linear(const Linear& self, F&& f) {
  using Result = decltype(f(std::get<0>(self.objective)));
  return std::visit(
      [&]<typename Any>(const Any& objective) -> Result {
        if constexpr (kIsLinear<Any>) {
          return f(objective);
        } else {
          throw Error(ErrorCode::config, "the objective is not that of a linear model");
        }
      },
      self.objective);
}

}  // namespace dsgd::python
