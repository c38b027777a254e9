"""The least value of a problem, in double precision, with a certificate.

None of the solvers uses the methods that find it.

Hinge: dual coordinate ascent with box constraints, whose dual value bounds the optimum from below.
Logistic: L-BFGS; a gradient g at w proves F(w) - F* <= ||g||^2 / (2 alpha), since F is
alpha-strongly convex. Optima are kept in a file, by the hash of the data.
"""

from __future__ import annotations

import functools
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special
from numpy.typing import NDArray

from common.machine import save
from common.problems import Problem

__all__ = ["GAP", "Optimum", "optimum"]

GAP = 1e-5  # relative gap of every certificate: a hundredth of the tightest target
_AIM = GAP / 10  # relative gap at which the search for the optimum of hinge ends
_SWEEPS = 3000  # most passes over all rows in this search
_INNER = 10  # passes over the rows that may still change, after each pass over all rows
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Optimum:
    """Bounds of F*, and the test accuracy of the weights whose objective is the upper bound."""

    lower: float
    upper: float
    accuracy: float
    method: str
    seconds: float

    @property
    def gap(self) -> float:
        """Upper bound of the relative distance of F at these weights from F*."""
        return (self.upper - self.lower) / self.lower

    def suboptimality(self, objective: float) -> float:
        """Return (F - F*) / F* with the lower bound for F*: too large by at most `gap`."""
        return objective / self.lower - 1


def optimum(problem: Problem, kept: Path) -> Optimum:
    """Return the optimum from the file `kept`; if it is not there, find it and add it.

    Raises
    ------
    RuntimeError
        If the certificate stays above `GAP`.
    """
    known: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    key = f"{problem.title}, {problem.hash}"
    if key in known:
        return Optimum(**known[key])
    start = time.perf_counter()
    w, lower, method = {"hinge": _hinge, "logistic": _logistic}[problem.loss](problem)
    seconds = round(time.perf_counter() - start, 2)
    found = Optimum(lower, problem.objective(w), problem.accuracy(w), method, seconds)
    if not -1e-12 < found.gap < GAP:  # rounding may make it negative
        raise RuntimeError(f"{problem.title}: the optimum is known to {found.gap:.1e} only, {method}")
    save(kept, {**known, key: asdict(found)})
    return found


@functools.cache
def _sweep() -> Any:
    """Return the compiled pass, which maximises the dual over one a_i after the other."""
    from numba import njit  # needed only if an optimum is not known yet

    @njit  # type: ignore[misc, unused-ignore]  # typed where numba is there
    def sweep(rows, data, indices, indptr, y, squares, strength, a, w, moves):  # type: ignore[no-untyped-def]
        for i in rows:
            begin, end = indptr[i], indptr[i + 1]
            margin = 0.0
            for k in range(begin, end):
                margin += w[indices[k]] * data[k]
            new = min(max(a[i] + (1 - y[i] * margin) * strength / squares[i], 0.0), 1.0)
            moves[i] = new != a[i]
            if moves[i]:
                change = (new - a[i]) * y[i] / strength
                for k in range(begin, end):
                    w[indices[k]] += change * data[k]
                a[i] = new

    return sweep


def _hinge(problem: Problem) -> tuple[Vector, float, str]:
    """Maximise D(a) = mean a - alpha/2 ||w(a)||^2 over [0, 1]^n, w(a) = sum a_i y_i x_i / (alpha n)."""
    X, y, alpha = problem.data.X.astype(np.float64), problem.data.y, problem.data.alpha
    squares = np.asarray(X.multiply(X).sum(axis=1)).ravel()
    a = np.where(squares > 0, 0.0, 1.0)  # a row of zeros costs 1 whatever w is
    moves = squares > 0
    random = np.random.default_rng(0)
    lower, best, best_w = -np.inf, np.inf, np.zeros(X.shape[1])
    sweeps = 0
    while sweeps < _SWEEPS:
        w = X.T @ (a * y) / problem.strength  # anew, because the running sum accumulates rounding errors
        lower = max(lower, float(a.mean() - alpha / 2 * (w @ w)))
        if (upper := problem.objective(w)) < best:
            best, best_w = upper, w.copy()
        if best - lower < _AIM * lower:
            break
        for several in range(1 + _INNER):
            rows = np.flatnonzero(squares > 0 if several == 0 else moves | ((a > 0) & (a < 1)))
            rows = random.permutation(rows)
            _sweep()(rows, X.data, X.indices, X.indptr, y, squares, problem.strength, a, w, moves)
        sweeps += 1
    return best_w, lower, f"dual coordinate ascent, {sweeps} sweeps"


def _logistic(problem: Problem) -> tuple[Vector, float, str]:
    X, y, alpha = problem.data.X.astype(np.float64), problem.data.y, problem.data.alpha
    transposed = scipy.sparse.csr_matrix(X.T)

    def value(w: Vector) -> tuple[float, Vector]:
        margin = y * (X @ w)
        slope = -y * scipy.special.expit(-margin) / len(y)
        return float(np.logaddexp(0, -margin).mean() + alpha / 2 * (w @ w)), transposed @ slope + alpha * w

    limits = {"maxiter": 20_000, "maxfun": 40_000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-9}
    found = scipy.optimize.minimize(value, np.zeros(X.shape[1]), jac=True, method="L-BFGS-B", options=limits)
    upper, gradient = value(found.x)
    return found.x, upper - float(gradient @ gradient) / (2 * alpha), f"L-BFGS, {found.nit} iterations"
