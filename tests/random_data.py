"""Random features, targets and weights, of all kinds that users have and of faulty kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from numpy.typing import NDArray

__all__ = ["draw_features", "draw_labels", "draw_layout", "draw_targets", "draw_weights"]

Features = NDArray[Any]
_EXPONENTS = (-320, -300, -160, -150, -40, -20, -5, 5, 10, 19, 37, 40, 150, 160, 300, 307)


def _power(random: np.random.Generator) -> float:
    """Return a power of ten; half of the time it is very small or very large."""
    return float(f"1e{random.choice(_EXPONENTS) if random.random() < 0.5 else random.integers(-30, 15)}")


def _place(random: np.random.Generator, X: Features, axis: int) -> Any:
    """Return the index of a random row (axis 0) or column (axis 1)."""
    k = int(random.integers(X.shape[axis]))
    return (k, slice(None)) if axis == 0 else (slice(None), k)


def _scale_all(random: np.random.Generator, X: Features) -> None:
    X *= _power(random)


def _scale_row(random: np.random.Generator, X: Features) -> None:
    X[_place(random, X, 0)] *= _power(random)


def _scale_column(random: np.random.Generator, X: Features) -> None:
    X[_place(random, X, 1)] *= _power(random)


def _scale_every_column(random: np.random.Generator, X: Features) -> None:
    X *= np.array([_power(random) for _ in range(X.shape[1])])


def _one_entry(random: np.random.Generator, X: Features) -> None:
    X[int(random.integers(len(X))), int(random.integers(X.shape[1]))] = _power(random)


def _constant_column(random: np.random.Generator, X: Features) -> None:
    X[_place(random, X, 1)] = random.choice([1.0, 1e6, _power(random)])


def _constant(random: np.random.Generator, X: Features) -> None:
    X[:] = random.choice([0.0, 1.0, -3.0, _power(random)])


def _zero_row(random: np.random.Generator, X: Features) -> None:
    X[_place(random, X, 0)] = 0


def _zero_column(random: np.random.Generator, X: Features) -> None:
    X[_place(random, X, 1)] = 0


def _duplicates(random: np.random.Generator, X: Features) -> None:
    X[:] = X[random.integers(0, max(1, len(X) // 4), len(X))]


def _offset(random: np.random.Generator, X: Features) -> None:
    X += random.choice([1e3, 1e8, 1e15])


def _any_exponent(random: np.random.Generator, X: Features) -> None:
    X *= 10.0 ** random.uniform(-150, 150, X.shape)


def _largest(random: np.random.Generator, X: Features) -> None:
    X[:] = np.sign(X) * np.finfo(random.choice(["f4", "f8"])).max


def _subnormal(random: np.random.Generator, X: Features) -> None:
    X[:] = np.round(X * 10) * (5e-324 if random.random() < 0.5 else 1.4e-45)


def _whole_numbers(random: np.random.Generator, X: Features) -> None:
    X[:] = np.round(X * 3)


_SPOILERS: tuple[Callable[[np.random.Generator, Features], None], ...] = (
    *(_scale_all, _scale_row, _scale_column, _scale_every_column, _one_entry, _constant_column, _constant, _zero_row),
    *(_zero_column, _duplicates, _offset, _any_exponent, _largest, _subnormal, _whole_numbers),
)


def draw_features(random: np.random.Generator) -> Features:
    """Return a dense matrix of float64, without a flaw or with up to three."""
    n_rows = int(random.choice([1, 2, 3, int(random.integers(4, 40)), 60, 300], p=[0.04, 0.04, 0.04, 0.5, 0.33, 0.05]))
    n_features = int(random.choice([1, 2, int(random.integers(3, 12)), 50], p=[0.1, 0.15, 0.65, 0.1]))
    if random.random() < 0.01:
        n_rows, n_features = (0, n_features) if random.random() < 0.5 else (n_rows, 0)
    X = random.standard_normal((n_rows, n_features))
    if random.random() < 0.4:
        X *= random.random(X.shape) < random.choice([0.05, 0.3, 0.6])
    if X.size == 0 or random.random() < 0.35:
        return X
    with np.errstate(over="ignore"):
        for index in random.integers(len(_SPOILERS), size=int(random.integers(1, 4))):
            _SPOILERS[index](random, X)
        return np.nan_to_num(X) if random.random() < 0.99 else X  # seldom infinite


def _convert(random: np.random.Generator, X: Features) -> Features:
    """Return the features in a type of their own, mostly a floating-point one."""
    kinds = ["f8", "f4", "i8", "i4", "i1", "u1", "?", ">f8", "f2", "g", "O"]
    kind = str(random.choice(kinds, p=[0.45, 0.33, 0.03, 0.03, 0.03, 0.03, 0.02, 0.03, 0.01, 0.02, 0.02]))
    with np.errstate(over="ignore", invalid="ignore"):
        if kind == "f4" and random.random() < 0.9:  # finite; else some are refused
            X = np.clip(X, *np.array([-1, 1]) * float(np.finfo("f4").max))
        if np.dtype(kind).kind in "iu":
            X = np.clip(np.nan_to_num(X), 0 if kind == "u1" else -127, 127)
        return X.astype(kind)


def _sparse(random: np.random.Generator, X: Features) -> Any:
    """Return the features in a sparse format; with explicit zeros, wide indices or unsorted ones now and then."""
    matrix = scipy.sparse.csr_array(X) if random.random() < 0.7 else scipy.sparse.csr_matrix(X)
    if matrix.nnz > 0 and random.random() < 0.2:
        matrix.data[random.integers(matrix.nnz)] = 0
    kind = str(random.choice(["csr", "csc", "coo"], p=[0.7, 0.15, 0.15]))
    if kind != "csr":
        return matrix.asformat(kind)
    if random.random() < 0.2:
        matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    if random.random() < 0.1:
        for array in (matrix.data, matrix.indices, matrix.indptr):
            array.flags.writeable = False
    return matrix


def draw_layout(random: np.random.Generator, features: Features) -> Any:
    """Return the features as a user may hold them: type, order in memory, sparse format, data frame."""
    X = _convert(random, features)
    draw = random.random()
    if draw < 0.4 and X.dtype.kind in "fiub" and X.dtype.itemsize in (1, 4, 8) and X.dtype.isnative:
        return _sparse(random, X)
    if draw < 0.5:
        return np.asfortranarray(X)
    if draw < 0.6:
        wide = np.zeros((len(X), 2 * X.shape[1]), X.dtype)
        wide[:, ::2] = X
        return wide[:, ::2]
    if draw < 0.7:
        X.flags.writeable = False
        return X
    if draw < 0.8 and X.dtype.isnative and X.dtype.char != "g":
        return pd.DataFrame(X, columns=[f"feature {k}" for k in range(X.shape[1])])
    return X


def _by_rule(random: np.random.Generator, X: Features) -> NDArray[np.float64]:
    """Return numbers near 1 that depend on the features."""
    with np.errstate(all="ignore"):
        size = np.abs(X).max(initial=0.0) or 1.0
        y = np.nan_to_num(X / size @ random.standard_normal(X.shape[1]))
    return y + 0.1 * random.standard_normal(len(X))


def draw_labels(random: np.random.Generator, X: Features) -> Any:
    """Return labels: mostly of two classes, by a rule; also of one, of many, rare ones, and of every type."""
    n = len(X)
    kind = str(random.choice(["rule", "many", "rare", "chance", "one", "all"], p=[0.5, 0.2, 0.1, 0.16, 0.02, 0.02]))
    if kind == "many":
        member = random.integers(0, random.integers(3, 7), n)
    elif kind == "rare":
        member = (np.arange(n) == random.integers(max(n, 1))).astype(int)
    elif kind == "chance":
        member = random.integers(0, 2, n)
    elif kind == "all":
        member = np.arange(n)
    else:
        member = np.zeros(n, int) if kind == "one" else (_by_rule(random, X) > 0).astype(int)
    if n > 1 and kind != "one" and (member == member[0]).all():
        member[0] += 1
    names: tuple[Callable[[int], Any], ...] = (
        *(lambda k: k, lambda k: 2 * k - 1, float, lambda k: f"class {k}"),
        *(lambda k: 2**62 + k, lambda k: k * 1e300, lambda k: k * 5e-324, lambda k: k > 0),
    )
    name = names[int(random.choice(len(names), p=[0.3, 0.2, 0.15, 0.2, 0.04, 0.04, 0.02, 0.05]))]
    labels = [name(int(k)) for k in member]
    return labels if random.random() < 0.2 and labels else np.array(labels)


def draw_targets(random: np.random.Generator, X: Features) -> Any:
    """Return targets of a regression, up to the largest number there is."""
    y = _by_rule(random, X)
    kind = str(random.choice(["rule", "scaled", "outlier", "constant", "offset", "largest", "whole"], p=_TARGETS))
    with np.errstate(over="ignore"):
        if kind == "scaled":
            y *= _power(random)
        elif kind == "outlier" and len(y) > 0:
            y[random.integers(len(y))] = _power(random)
        elif kind == "constant":
            y[:] = random.choice([0.0, -7.0, _power(random)])
        elif kind == "offset":
            y += random.choice([1e3, 1e9])
        elif kind == "largest":
            y = np.sign(y) * np.finfo(random.choice(["f4", "f8"])).max * random.choice([1.0, 0.99, 0.1, 1e-3])
        elif kind == "whole":
            return np.round(3 * y).astype(str(random.choice(["i8", "i2", "f4", "?"])))
    return np.nan_to_num(y)


_TARGETS = (0.45, 0.17, 0.08, 0.08, 0.05, 0.07, 0.1)


def draw_weights(random: np.random.Generator, n_rows: int) -> NDArray[Any]:
    """Return weights of samples: whole ones, zeros, very small and very large ones, a single one that counts."""
    kind = int(random.integers(8))
    weight = random.random(n_rows)
    if kind == 0:
        return random.integers(0, 3, n_rows)
    if kind == 1:
        weight[random.random(n_rows) < 0.5] = 0
    elif kind == 2:
        weight *= _power(random)
    elif kind == 3 and n_rows > 0:
        weight[random.integers(n_rows)] = _power(random)
    elif kind == 4:
        weight[:] = np.arange(n_rows) == random.integers(max(n_rows, 1))
    elif kind == 5:
        weight = 10.0 ** random.uniform(-20, 20, n_rows)
    elif kind == 6:
        weight = weight.astype("f4")
    return weight
