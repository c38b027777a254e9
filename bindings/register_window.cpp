#include <cstdint>   // for int64_t, uint64_t
#include <optional>  // for optional
#include <utility>   // for pair

#include "dsgd/solver/parzen_window.hpp"
#include "pybind.hpp"

namespace dsgd::python {
namespace {

template <typename Real>
std::pair<std::size_t, std::size_t> look(ParzenWindow& self, const py::array& before, const py::array& after,
                                         const py::array& state, const std::optional<py::array>& places) {
  std::optional<std::span<const std::uint64_t>> at;
  if (places) at = array_span<const std::uint64_t>(*places, "places");
  const auto seen = self.look<Real>(array_span<const Real>(before, "before"), array_span<const Real>(after, "after"),
                                    array_span<const Real>(state, "state"), at);
  return {seen.accepted, seen.rejected};
}

}  // namespace

void register_window(py::module_& m) {
  py::class_<ParzenWindow>(m, "ParzenWindow", "The Parzen window of ASGD; see parzen_window.hpp.")
      .def(py::init([](const py::array& part_of, std::size_t n_parts) {
             return ParzenWindow(array_span<const std::int64_t>(part_of, "part_of"), n_parts);
           }),
           py::arg("part_of"), py::arg("n_parts"))
      .def(
          "look",
          [](ParzenWindow& self, const py::array& before, const py::array& after, const py::array& state,
             const std::optional<py::array>& places) {
            const bool single = py::isinstance<py::array_t<float>>(before);
            return (single ? look<float> : look<double>)(self, before, after, state, places);
          },
          py::arg("before"), py::arg("after"), py::arg("state"), py::arg("places") = py::none())
      .def(
          "pull",
          [](ParzenWindow& self, const py::array& after, double eps) {
            if (py::isinstance<py::array_t<float>>(after)) return self.pull(array_span<float>(after, "after"), eps);
            self.pull(array_span<double>(after, "after"), eps);
          },
          py::arg("after"), py::arg("eps"));
}

}  // namespace dsgd::python
