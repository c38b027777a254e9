// Every kind of matrix that the solvers are compiled for.
#pragma once

#include <variant>  // for variant

#include "dsgd/data/csr.hpp"
#include "dsgd/data/dense.hpp"

namespace dsgd {

using CsrFloat32 = CsrView<float>;
using CsrFloat64 = CsrView<double>;
using DenseFloat32 = DenseView<float>;
using DenseFloat64 = DenseView<double>;

// DSGD_FOR_EACH_MATRIX applies a macro to each kind of matrix; it instantiates the templates of the
// solvers. Builds for sanitizers and clang-tidy must see every template, but not every kind of
// matrix: CMake's option DSGD_FEW_KINDS leaves two kinds.
#ifdef DSGD_FEW_KINDS
using MatrixView = std::variant<CsrFloat64, DenseFloat64>;
#define DSGD_FOR_EACH_MATRIX(APPLY) \
  APPLY(CsrFloat64)                 \
  APPLY(DenseFloat64)
#else
using MatrixView = std::variant<CsrFloat32, CsrFloat64, DenseFloat32, DenseFloat64>;
#define DSGD_FOR_EACH_MATRIX(APPLY) \
  APPLY(CsrFloat32)                 \
  APPLY(CsrFloat64)                 \
  APPLY(DenseFloat32)               \
  APPLY(DenseFloat64)
#endif

}  // namespace dsgd
