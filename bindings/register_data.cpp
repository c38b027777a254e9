#include <algorithm>  // for max, transform
#include <array>      // for array
#include <limits>     // for numeric_limits
#include <memory>     // for unique_ptr

#include "dsgd/data/libsvm.hpp"
#include "dsgd/data/renumber.hpp"
#include "dsgd/data/squared_norms.hpp"
#include "pybind.hpp"

namespace dsgd::python {
namespace {

template <typename Real>
Matrix csr(const py::array& indptr, const py::array& indices, const py::array& data, std::size_t n_features,
           std::size_t n_threads) {
  const auto starts = array_span<const std::int64_t>(indptr, "indptr");
  const auto columns = array_span<const std::int32_t>(indices, "indices");
  const auto values = array_span<const Real>(data, "data");
  py::tuple arrays = py::make_tuple(indptr, indices, data);
  const py::gil_scoped_release release;
  return {CsrView<Real>(starts, columns, values, n_features, n_threads), std::move(arrays)};
}

Matrix any_csr(const py::array& indptr, const py::array& indices, const py::array& data, std::size_t n_features,
               std::size_t n_threads) {
  return py::isinstance<py::array_t<float>>(data) ? csr<float>(indptr, indices, data, n_features, n_threads)
                                                  : csr<double>(indptr, indices, data, n_features, n_threads);
}

template <typename Real>
Matrix dense(py::array X, std::size_t n_threads) {
  const auto values = array_span<const Real>(X, "X", 2);
  const auto n_rows = static_cast<std::size_t>(X.shape(0));
  const auto n_features = static_cast<std::size_t>(X.shape(1));
  const py::gil_scoped_release release;
  return {DenseView<Real>(values, n_rows, n_features, n_threads), std::move(X)};
}

Matrix any_dense(const py::array& X, std::size_t n_threads) {
  return py::isinstance<py::array_t<float>>(X) ? dense<float>(X, n_threads) : dense<double>(X, n_threads);
}

template <typename Real>
void decide(const auto& X, const py::array& weights, bool fit_intercept, const py::array& out, std::size_t n_threads) {
  const auto w = array_span<const Real>(weights, "weights");
  const auto z = array_span<Real>(out, "out", out.ndim() == 2 ? 2 : 1);
  const py::gil_scoped_release release;
  decision_function(X, w, fit_intercept, z, n_threads);
}

std::size_t norms(const Matrix& self, const py::array& out, std::size_t n_threads) {
  const auto norms = array_span<double>(out, "out");
  const py::gil_scoped_release release;
  return std::visit([&](const auto& X) { return squared_norms(X, norms, n_threads); }, self.view);
}

/// The matrix with new column numbers. It shares row pointers and values with `X`.
template <typename Real>
Matrix renumbered_columns(const CsrView<Real>& X, const py::object& arrays, std::span<const std::int64_t> order,
                          std::size_t n_threads) {
  py::array_t<std::int32_t> indices(static_cast<py::ssize_t>(X.nonzeros()));
  const std::span<std::int32_t> columns(indices.mutable_data(), X.nonzeros());
  py::tuple owners = py::make_tuple(arrays[py::int_(0)], indices, arrays[py::int_(2)]);
  const py::gil_scoped_release release;
  return {renumbered(X, order, columns, n_threads), std::move(owners)};
}

Matrix renumbered(const Matrix& self, const py::array& order, std::size_t n_threads) {
  const auto features = array_span<const std::int64_t>(order, "order");
  const auto make = [&]<typename Data>(const Data& X) -> Matrix {
    if constexpr (Data::kSparse) {
      return renumbered_columns(X, self.arrays, features, n_threads);
    } else {
      throw Error(ErrorCode::config, "the features of a dense matrix cannot be renumbered");
    }
  };
  return std::visit(make, self.view);
}

std::unique_ptr<LibsvmReader> libsvm_reader(const py::buffer& text, const std::string& name, std::size_t offset,
                                            std::size_t length, std::size_t n_threads) {
  const py::buffer_info info = text.request();
  const std::string_view view(static_cast<const char*>(info.ptr), static_cast<std::size_t>(info.size * info.itemsize));
  const py::gil_scoped_release release;
  return std::make_unique<LibsvmReader>(view, name, offset, length, n_threads);
}

template <typename Real>
std::array<std::int64_t, 2> parse(const LibsvmReader& reader, const py::array& labels, const py::array& indptr,
                                  const py::array& indices, const py::array& data) {
  const auto targets = array_span<double>(labels, "labels");
  const auto starts = array_span<std::int64_t>(indptr, "indptr");
  const auto columns = array_span<std::int32_t>(indices, "indices");
  const auto values = array_span<Real>(data, "data");
  const py::gil_scoped_release release;
  const auto range = reader.parse<Real>(targets, starts, columns, values);
  return {range.min, range.max};
}

}  // namespace

void register_data(py::module_& m) {
  py::class_<Matrix>(m, "Matrix", "A matrix in the memory of numpy arrays.")
      .def_static("csr", &any_csr, py::arg("indptr"), py::arg("indices"), py::arg("data"), py::arg("n_features"),
                  py::arg("n_threads"))
      .def_static("dense", &any_dense, py::arg("X"), py::arg("n_threads"))
      .def_readonly("arrays", &Matrix::arrays)
      .def_property_readonly("n_rows",
                             [](const Matrix& self) { return std::visit([](auto X) { return X.rows(); }, self.view); })
      .def_property_readonly(
          "n_features", [](const Matrix& self) { return std::visit([](auto X) { return X.features(); }, self.view); })
      .def_property_readonly(
          "canonical", [](const Matrix& self) { return std::visit([](auto X) { return X.canonical(); }, self.view); })
      .def("renumbered", &renumbered, py::arg("order"), py::arg("n_threads"))
      .def("squared_norms", &norms, py::arg("out"), py::arg("n_threads"))
      .def(
          "decision_function",
          [](const Matrix& self, const py::array& weights, bool fit_intercept, const py::array& out,
             std::size_t n_threads) {
            std::visit(
                [&](const auto& X) {
                  using Real = typename std::remove_cvref_t<decltype(X)>::Real;
                  decide<Real>(X, weights, fit_intercept, out, n_threads);
                },
                self.view);
          },
          py::arg("weights"), py::arg("fit_intercept"), py::arg("out"), py::arg("n_threads"));

  py::class_<LibsvmReader>(m, "LibsvmReader", "A libsvm text whose rows and entries are counted.")
      .def(py::init(&libsvm_reader), py::arg("text"), py::arg("name"), py::arg("offset"), py::arg("length"),
           py::arg("n_threads"), py::keep_alive<1, 2>())
      .def_property_readonly("n_rows", &LibsvmReader::rows)
      .def_property_readonly("nonzeros", &LibsvmReader::nonzeros)
      .def(
          "parse",
          [](const LibsvmReader& self, const py::array& labels, const py::array& indptr, const py::array& indices,
             const py::array& data) {
            return py::isinstance<py::array_t<float>>(data) ? parse<float>(self, labels, indptr, indices, data)
                                                            : parse<double>(self, labels, indptr, indices, data);
          },
          py::arg("labels"), py::arg("indptr"), py::arg("indices"), py::arg("data"));

  m.def(
      "write_libsvm",
      [](const std::string& path, const Matrix& X, const py::array& labels, std::int64_t first_index,
         std::size_t n_threads) {
        const auto targets = array_span<const double>(labels, "labels");
        const py::gil_scoped_release release;
        std::visit(
            [&](const auto& view) {
              if constexpr (std::remove_cvref_t<decltype(view)>::kSparse) {
                write_libsvm(path, view, targets, first_index, n_threads);
              } else {
                throw Error(ErrorCode::config, "a libsvm file is written from a sparse matrix");
              }
            },
            X.view);
      },
      py::arg("path"), py::arg("X"), py::arg("labels"), py::arg("first_index"), py::arg("n_threads"));
}

}  // namespace dsgd::python
