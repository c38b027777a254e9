// Every kind of matrix that the solvers are compiled for.
#pragma once

#include <cstdint>  // for int32_t, int64_t
#include <variant>  // for variant

#include "dsgd/data/csr.hpp"
#include "dsgd/data/dense.hpp"

namespace dsgd {

using CsrFloat32 = CsrView<float, std::int32_t>;
using CsrFloat32Wide = CsrView<float, std::int64_t>;
using CsrFloat64 = CsrView<double, std::int32_t>;
using CsrFloat64Wide = CsrView<double, std::int64_t>;
using DenseFloat32 = DenseView<float>;
using DenseFloat64 = DenseView<double>;

using MatrixView = std::variant<CsrFloat32, CsrFloat32Wide, CsrFloat64, CsrFloat64Wide, DenseFloat32, DenseFloat64>;

// Applies a macro to each kind: what is compiled once a kind is instantiated by this.
#define DSGD_FOR_EACH_MATRIX(APPLY) \
  APPLY(CsrFloat32)                 \
  APPLY(CsrFloat32Wide)             \
  APPLY(CsrFloat64)                 \
  APPLY(CsrFloat64Wide)             \
  APPLY(DenseFloat32)               \
  APPLY(DenseFloat64)

}  // namespace dsgd
