// Every objective that the solvers are compiled for: a new one is added here, and to the bindings.
#pragma once

#include "dsgd/data/matrix.hpp"
#include "dsgd/objective/linear.hpp"

// Applies a macro to each SampleObjective.
#define DSGD_FOR_EACH_SAMPLE_OBJECTIVE(APPLY) \
  APPLY(LinearObjective<CsrFloat32>)          \
  APPLY(LinearObjective<CsrFloat32Wide>)      \
  APPLY(LinearObjective<CsrFloat64>)          \
  APPLY(LinearObjective<CsrFloat64Wide>)      \
  APPLY(LinearObjective<DenseFloat32>)        \
  APPLY(LinearObjective<DenseFloat64>)
