"""Problems whose minimiser is known, to measure how far from it an algorithm ends."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import DTypeLike, NDArray

from dsgd._common.checks import Seed, check_integer, check_real, check_real_dtype, check_seed
from dsgd._common.memory import naming_memory
from dsgd.errors import ConfigError
from dsgd.losses import Loss, resolve_loss

__all__ = ["KnownOptimum", "make_known_optimum"]

_SMOOTH = ("huber", "logistic", "modified_huber", "squared", "squared_hinge")


class KnownOptimum(NamedTuple):
    """A problem, its minimiser and its least objective."""

    X: Any
    y: NDArray[np.float64]
    coef: NDArray[np.float64]
    intercept: float
    objective: float


@naming_memory
def make_known_optimum(
    n_samples: int,
    n_features: int,
    *,
    loss: str | Loss = "squared",
    alpha: float = 1e-2,
    density: float = 1.0,
    noise: float = 0.5,
    fit_intercept: bool = True,
    dtype: DTypeLike = np.float64,
    random_state: Seed | None = None,
) -> KnownOptimum:
    r"""Generate a problem and the w and b that minimise F(w, b) = (1/n) sum_i loss(x_i.w + b, y_i) + alpha/2 \|w\|^2.

    Parameters
    ----------
    n_samples, n_features : int
        Shape of X.
    loss : {"huber", "logistic", "modified_huber", "squared", "squared_hinge"} or Loss, default="squared"
        A differentiable loss.
    alpha : float, default=1e-2
        Strength of the l2 penalty; above 0, so that the minimiser is the only one.
    density : float, default=1.0
        Mean share of non-zeros in X. Below 1 X is sparse, and the frequencies of its columns follow
        a power law that begins at 1, so that the first column is in every row. A column without
        non-zeros has the weight 0.
    noise : float, default=0.5
        Standard deviation of the noise that makes y of the decision values, whose standard
        deviation is 1.
    fit_intercept : bool, default=True
        Whether F is minimised over b too; else b is 0.
    dtype : {float32, float64}, default=float64
        Type of X. In float32 X is rounded, and w is the minimiser to about that precision only.
    random_state : int, Generator or RandomState, optional
        Seed in [0, 2^64), or a generator to draw one from; the same seed gives the same problem.

    Returns
    -------
    X : ndarray, or csr_array if density < 1, of shape (n_samples, n_features)
    y : ndarray of float64, shape (n_samples,)
        -1 and +1, or real numbers for a regression loss.
    coef : ndarray of float64, shape (n_features,)
    intercept : float
    objective : float
        F(coef, intercept).

    Raises
    ------
    ConfigError
        For a loss that is not differentiable, or if no such problem of this shape was found.

    Notes
    -----
    w has a random direction. The objective is minimised over the length of w and over b, a problem
    in two unknowns. The remaining gradient is orthogonal to w. The non-zeros of X are then changed
    by the least amount that makes this gradient zero and keeps every decision value, and with it
    every derivative of the loss. This is a sparse linear system, which LSMR solves.
    """
    check_integer("n_samples", n_samples, 2)
    check_integer("n_features", n_features, 1)
    check_real("alpha", alpha, 0, low_open=True)
    check_real("density", density, 0, 1, low_open=True)
    check_real("noise", noise, 0)
    real, function = check_real_dtype(dtype), resolve_loss(loss)
    if function.name not in _SMOOTH:
        raise ConfigError(f"loss {function.name!r} is not differentiable; take one of {', '.join(_SMOOTH)}")
    random = np.random.default_rng(check_seed(random_state))
    X = _draw_matrix(random, n_samples, n_features, density)
    direction = random.standard_normal(n_features) * (np.bincount(X.indices, minlength=n_features) > 0)
    z = X @ direction
    direction, z = direction / z.std(), z / z.std()
    y = z + noise * random.standard_normal(n_samples)
    if function.classification:
        y = np.where(y > 0, 1.0, -1.0)
        if abs(y.sum()) == n_samples:
            raise ConfigError(f"all of {n_samples} samples fell into one class; take more samples or another seed")
    squared_length = float(direction @ direction)

    def slopes(at: NDArray[np.float64]) -> list[float]:
        derivative = function.derivative(at[0] * z + at[1], y)
        return [
            z @ derivative / n_samples + alpha * at[0] * squared_length,
            derivative.mean() if fit_intercept else at[1],
        ]

    from scipy.optimize import root  # slow to import; here, so that worker processes do not

    length, intercept = root(slopes, [1.0, 0.0], tol=1e-14).x
    coef, derivative = length * direction, function.derivative(length * z + intercept, y)
    _cancel_gradient(X, coef, derivative, alpha)
    gradient = X.T @ derivative / n_samples + alpha * coef
    residual = max(np.abs(gradient).max(), abs(derivative.mean()) if fit_intercept else 0.0)
    if not residual <= 1e-10:
        raise ConfigError(
            f"no such problem was found (the gradient at w is {residual:.1g}); take more samples or features, a larger "
            "density or more noise"
        )
    objective = float(function.value(X @ coef + intercept, y).mean() + alpha / 2 * coef @ coef)
    X = X.astype(real)
    return KnownOptimum(X if density < 1 else X.toarray(), y, coef, float(intercept), objective)


def _draw_matrix(random: np.random.Generator, n_samples: int, n_features: int, density: float) -> Any:
    """Return a CSR array of normal values; its first column is in every row and connects them."""
    rank = np.arange(1, n_features + 1)
    exponent = 0.0 if density == 1 else _exponent(rank, density)
    present = [np.arange(n_samples)]
    for frequency in rank[1:] ** -exponent:
        present.append(np.sort(random.choice(n_samples, random.binomial(n_samples, frequency), replace=False)))
    indptr = np.concatenate([[0], np.cumsum([len(rows) for rows in present])])
    values = random.standard_normal(indptr[-1])
    X = scipy.sparse.csc_array((values, np.concatenate(present), indptr), shape=(n_samples, n_features)).tocsr()
    X.sort_indices()
    return X


def _exponent(rank: NDArray[np.int64], density: float) -> float:
    """Return the exponent of the power law of frequencies with the mean `density`.

    `ConfigError` if hardly more than the first column would have non-zeros.
    """
    if density * len(rank) <= 1.001:
        raise ConfigError(
            f"density={density} leaves less than one non-zero a row of {len(rank)} features; take a larger one"
        )
    from scipy.optimize import brentq

    return float(brentq(lambda exponent: (rank**-exponent).mean() - density, 0.0, 1000.0))


def _cancel_gradient(X: Any, coef: NDArray[np.float64], derivative: NDArray[np.float64], alpha: float) -> None:
    """Change the non-zeros of X as little as possible to make the gradient zero; keep X @ coef."""
    n_samples, n_features = X.shape
    row_of = np.repeat(np.arange(n_samples), np.diff(X.indptr))
    surplus = X.T @ derivative + n_samples * alpha * coef
    # Each non-zero (i, j) of X is an unknown. Equation i keeps the decision value of row i.
    # Equation n_samples + j removes the surplus of column j. Equations are scaled to unit length,
    # which LSMR needs if frequencies differ much.
    weight, pull = coef[X.indices], derivative[row_of]
    row_scale = np.sqrt(np.bincount(row_of, weight**2, n_samples))
    column_scale = np.sqrt(np.bincount(X.indices, pull**2, n_features))
    row_scale[row_scale == 0] = column_scale[column_scale == 0] = 1.0
    entries = np.column_stack([weight / row_scale[row_of], pull / column_scale[X.indices]]).ravel()
    places = np.column_stack([row_of, n_samples + X.indices]).ravel()
    equations = scipy.sparse.csc_array(
        (entries, places, np.arange(0, 2 * X.nnz + 1, 2)), shape=(n_samples + n_features, X.nnz)
    )
    wanted = np.concatenate([np.zeros(n_samples), -surplus / column_scale])
    from scipy.sparse.linalg import lsmr

    X.data += lsmr(equations, wanted, atol=1e-15, btol=1e-15, conlim=0, maxiter=5000)[0]
