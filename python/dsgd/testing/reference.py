"""The algorithms in plain numpy, one sample after the other.

The core must give the same on one thread. Nothing here is shared with the core, not even the
losses, because an error in shared code would go unnoticed. With the loss softmax w has shape
(n_features, n_classes), b has shape (n_classes,), and y holds numbers of classes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.testing.loss_reference import DERIVATIVES, EPSILON, VALUES, Array

__all__ = [
    "DERIVATIVES",
    "EPSILON",
    "VALUES",
    "clipped_gradient",
    "iterates",
    "loss_gradient",
    "objective",
    "sgd",
    "sgd_iterates",
    "steps",
    "svrg_epoch",
]


def l2_period(shrinkage: float) -> int:
    """Return the period p of the L2 penalty: a sample applies it p times at every p-th visit.

    Parameters
    ----------
    shrinkage : float
        step * alpha * n_samples * n_features / entries: the share by which a step shrinks the
        weight of an average entry.

    Returns
    -------
    int
        The greatest p of 8, 4 and 2 with p * shrinkage <= 1/32, else 1.
    """
    return next((period for period in (8, 4, 2) if shrinkage * period <= 1 / 32), 1)


def turn(row: int) -> int:
    """Return the number from 0 to 7 at which a row begins to count its visits for `l2_period`.

    It is the three highest of 64 bits of the row's number times 2^64 over the golden ratio.
    """
    return (row * 0x9E3779B97F4A7C15 % 2**64) >> 61


def objective(
    X: Array,
    y: Array,
    w: Array,
    b: Any,
    *,
    loss: str,
    alpha: float,
    alpha_l1: float = 0.0,
    sample_weight: Array | float = 1.0,
) -> float:
    """Return F(w, b) = (1/n) sum_i s_i l(w.x_i + b, y_i) + alpha/2 ||w||^2 + alpha_l1 ||w||_1.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    w : ndarray of shape (n_features,)
    b : float
    loss : str
    alpha, alpha_l1 : float
    sample_weight : ndarray of shape (n_samples,) or float

    Returns
    -------
    float
    """
    losses = sample_weight * VALUES[loss](X @ w + b, y)
    return float(np.mean(losses) + alpha / 2 * np.square(w).sum() + alpha_l1 * np.abs(w).sum())


def loss_gradient(
    X: Array, y: Array, w: Array, b: Any, *, loss: str, sample_weight: Array | float = 1.0
) -> tuple[Array, Any]:
    """Return the gradient of (1/n) sum_i s_i l(w.x_i + b, y_i) in w and in b; parameters as for `objective`."""
    derivative = (sample_weight * DERIVATIVES[loss](X @ w + b, y).T).T / len(y)
    return X.T @ derivative, derivative.sum(axis=0)


def clipped_gradient(
    X: Array,
    y: Array,
    w: Array,
    b: Any,
    rows: Iterable[int],
    clip_norm: float,
    *,
    loss: str,
    fit_intercept: bool,
    sample_weight: Array | None = None,
) -> tuple[Array, int]:
    """Return the sum of the rows' gradients, each formed and shortened to `clip_norm`, and how many were longer.

    Parameters
    ----------
    rows : iterable of int
    clip_norm : float
    fit_intercept : bool
        Whether the gradients have elements for b, after those for w.
    X, y, w, b, loss, sample_weight
        As for `objective`.

    Returns
    -------
    total : ndarray of shape (n_parameters,)
    n_clipped : int
    """
    total, n_clipped = np.zeros(w.size + (np.size(b) if fit_intercept else 0)), 0
    for i in rows:
        derivative = DERIVATIVES[loss](np.asarray(X[i] @ w + b), y[i]) * (
            1 if sample_weight is None else sample_weight[i]
        )
        gradient = np.multiply.outer(X[i], derivative).ravel()
        gradient = np.append(gradient, derivative) if fit_intercept else gradient
        norm = np.linalg.norm(gradient)
        n_clipped += int(norm > clip_norm)
        total += gradient * (clip_norm / norm if norm > clip_norm else 1.0)
    return total, n_clipped


def steps(name: str, step_size: float, *, n_samples: int, n_epochs: int, alpha: float) -> Array:
    """Return the step sizes of a whole run, by a schedule with its default parameters.

    Parameters
    ----------
    name : str
    step_size : float
        The first step size.
    n_samples, n_epochs : int
    alpha : float

    Returns
    -------
    ndarray of shape (n_samples * n_epochs,)
    """
    before = np.arange(n_samples * n_epochs, dtype=np.float64)
    return {
        "constant": step_size + 0 * before,
        "linear": step_size * (1 - before / (n_samples * n_epochs)),
        "inverse-scaling": step_size / np.sqrt(1 + before),
        "inverse-time": step_size / (1 + before / n_samples),
        "inverse-sqrt": step_size / np.sqrt(1 + before / n_samples),
        "optimal": 1 / (alpha * (1 / (alpha * step_size) + before)),
        "epoch-decay": step_size * 0.8 ** (before // n_samples),
        "adaptive": step_size + 0 * before,
        "pa1": step_size + 0 * before,
        "pa2": step_size + 0 * before,
    }[name]


def sgd(X: Array, y: Array, order: Iterable[int], steps: Iterable[float], **problem: Any) -> tuple[Array, Any]:
    """Return w and b after one step of stochastic gradient descent for every element of `order`.

    Parameters
    ----------
    order : iterable of int
        The row of each step.
    X, y, steps, **problem
        As for `iterates`.

    Returns
    -------
    w : ndarray of shape (n_features,)
    b : float
    """
    *_, last = sgd_iterates(X, y, order, steps, **problem)
    return last


def sgd_iterates(
    X: Array, y: Array, order: Iterable[int], steps: Iterable[float], **problem: Any
) -> Iterator[tuple[Array, float]]:
    """Yield w and b after every step of `sgd`, and of `hogwild` on one thread.

    Without L1, and with a single decision value, the L2 penalty of a step shrinks all weights.
    """
    whole = problem.get("alpha_l1", 0.0) == 0 and problem["loss"] != "softmax"
    return iterates(X, y, ([i] for i in order), steps, spread=not whole, **problem)


def _share(rule: str, loss: float, x: Array, step: float) -> float:
    """Return the share of a step that a sample takes by a passive-aggressive rule."""
    if rule == "pa1":
        return min(1.0, loss / (step * float(x @ x))) if x.any() else 0.0
    return loss / (float(x @ x) + 1 / (2 * step)) / step if rule == "pa2" else 1.0


def _as_column(p: Array, like: Array) -> Array:
    """Return numbers of features, as a column if `like` has an axis of classes."""
    return p if like.ndim == 1 else p[:, None]


def iterates(
    X: Array,
    y: Array,
    batches: Iterable[Sequence[int]],
    steps: Iterable[float],
    *,
    loss: str,
    alpha: float,
    fit_intercept: bool,
    stored: NDArray[np.bool_] | None = None,
    alpha_l1: float = 0.0,
    sample_weight: Array | None = None,
    intercept_rate: float = 1.0,
    batch_size: int = 1,
    rule: str = "whole",
    spread: bool = True,
    start: tuple[Array, Any] | None = None,
    index: int | None = None,
    delay: int = 0,
    frequency: Array | None = None,
) -> Iterator[tuple[Array, Any]]:
    """Yield w and b after every step of mini-batch gradient descent; of plain SGD where a batch is one row.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    batches : iterable of sequences of int
        The rows of each step.
    steps : iterable of float
        The size of each step.
    loss : str
    alpha : float
        L2 strength.
    fit_intercept : bool
    stored : ndarray of bool, shape (n_samples, n_features), optional
        The entries that a sparse matrix stores; all by default (a dense matrix).
    alpha_l1 : float
        L1 strength.
    sample_weight : ndarray of shape (n_samples,), optional
    intercept_rate : float
        The intercept's step divided by the step of the weights.
    batch_size : int
        Rows of a full batch, by which a step is divided.
    rule : {"whole", "pa1", "pa2"}
        The share of its step that a sample takes.
    spread : bool
        If True, a row applies the penalty to its own features only, divided by their frequencies.
        If False, every row applies L2 to all weights.
    start : ndarray of shape (n_features,) and float, optional
        The first w and b; by default 0.
    index : int, optional
        Passes before all of these steps; by default as many as the row has come before.
    delay : int
        Steps between the weights of a gradient and the step along it.
    frequency : ndarray of shape (n_features,), optional
        The share of all rows in which each feature occurs, where X has some of these rows; by default its share in X.

    Yields
    ------
    w : ndarray of shape (n_features,)
    b : float
    """
    support = np.ones(X.shape, bool) if stored is None else stored
    frequency = np.maximum(support.sum(axis=0), 1) / len(X) if frequency is None else frequency
    shape = () if loss != "softmax" else (int(y.max()) + 1,)  # of the decision of a sample
    mean_inverse = X.size / max(int(support.sum()), 1)
    importance = np.ones(len(X)) if sample_weight is None else sample_weight
    visits = np.zeros(len(X), int)  # of each row, one an epoch
    w, b = (np.zeros((X.shape[1], *shape)), np.zeros(shape)) if start is None else (start[0].copy(), start[1])
    kept = deque([(w.copy(), b)], maxlen=delay + 1)
    for batch, step in zip(batches, steps, strict=True):
        share = step / batch_size
        # All gradients of the batch first, at the same weights.
        seen_w, seen_b = kept[0]
        decisions = [np.asarray(X[i] @ seen_w + seen_b) for i in batch]
        gradients = [
            importance[i] * DERIVATIVES[loss](z, y[i]) * _share(rule, float(VALUES[loss](z, y[i])), X[i], step)
            for i, z in zip(batch, decisions, strict=True)
        ]
        for i, gradient in zip(batch, gradients, strict=True):
            if fit_intercept:
                b = b - intercept_rate * share * gradient
            if not spread:
                w = (w - share * gradient * X[i]) / (1 + share * alpha)
                continue
            visited = support[i]
            v = w[visited] - share * np.multiply.outer(X[i, visited], gradient)
            p = _as_column(frequency[visited], v)
            period = l2_period(share * alpha * mean_inverse) if alpha_l1 == 0 else 1
            if (turn(i) + (visits[i] if index is None else index)) % period == 0:
                v = np.sign(v) * np.maximum(0, np.abs(v) - share * alpha_l1 / p)
                v /= (1 + share * alpha / p) ** period  # L2 divided by the frequency, implicit
            w[visited] = v
            visits[i] += 1
        kept.append((w.copy(), b))
        yield w.copy(), b


def svrg_epoch(
    X: Array,
    y: Array,
    w: Array,
    b: Any,
    order: Iterable[int],
    step: float,
    *,
    loss: str,
    alpha: float,
    fit_intercept: bool,
    stored: NDArray[np.bool_] | None = None,
    alpha_l1: float = 0.0,
    sample_weight: Array | None = None,
    intercept_rate: float = 1.0,
    form: str = "reweighted",
    max_sigma: float = 0.0,
    longest_step: float = np.inf,
    frequency: Array | None = None,
    mean_gradient: tuple[Array, Any] | None = None,
) -> Iterator[tuple[Array, Any]]:
    """Yield w and b after every inner step of SVRG from the anchor (w, b).

    Parameters
    ----------
    w : ndarray of shape (n_features,)
    b : float
    order : iterable of int
        The row of each step.
    step : float
    form : {"reweighted", "scalar", "inside"}
        ``"reweighted"``: a step changes the features of its row only; ``"scalar"``: all features,
        as for dense data; ``"inside"``: as reweighted, but L2 is a part of the gradient rather than
        a proximal step.
    max_sigma : float
        Bound of sigma, the norm of the row's gradient divided by the mean norm so far. The step is
        multiplied by 1 + sigma; 0 means that it is not.
    longest_step : float
        Bound of the steps that are lengthened.
    frequency : ndarray of shape (n_features,), optional
        Frequencies by which the mean gradient and the penalty are divided; by default those of
        these rows.
    mean_gradient : ndarray of shape (n_features,) and float, optional
        Mean gradient of the loss in w and b at the anchor; by default over these rows.
    X, y, loss, alpha, fit_intercept, stored, alpha_l1, sample_weight, intercept_rate
        As for `iterates`.

    Yields
    ------
    w : ndarray of shape (n_features,)
    b : float
    """
    support = np.ones(X.shape, bool) if stored is None or form == "scalar" else stored
    frequency = np.maximum(support.sum(axis=0), 1) / len(X) if frequency is None else frequency
    importance = np.ones(len(X)) if sample_weight is None else sample_weight
    at_anchor = (importance * DERIVATIVES[loss](X @ w + b, y).T).T
    mean, mean_b = (X.T @ at_anchor / len(X), at_anchor.mean(axis=0)) if mean_gradient is None else mean_gradient
    w, norms = w.copy(), []
    for i in order:
        visited = support[i]
        p = _as_column(frequency[visited], w)
        derivative = importance[i] * DERIVATIVES[loss](np.asarray(X[i] @ w + b), y[i])
        norms.append(np.linalg.norm(derivative) * np.sqrt(X[i] @ X[i] + fit_intercept))
        eta = step
        if max_sigma > 0:
            eta = min(longest_step, step * (1 + min(max_sigma, norms[-1] / np.mean(norms) if norms[-1] > 0 else 0)))
        change = derivative - at_anchor[i]
        v = w[visited] - eta * (np.multiply.outer(X[i, visited], change) + mean[visited] / p)
        if form == "inside":
            v -= eta * alpha * w[visited] / p
        else:
            v = np.sign(v) * np.maximum(0, np.abs(v) - eta * alpha_l1 / p) / (1 + eta * alpha / p)
        w[visited] = v
        if fit_intercept:
            b = b - intercept_rate * eta * (change + mean_b)
        yield w.copy(), b
