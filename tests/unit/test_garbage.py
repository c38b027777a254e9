"""Whatever a parameter is given, a fit ends in one of dsgd's errors or in a finite model that can be saved."""

from __future__ import annotations

import copy
import inspect
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from problems import make_problem

import dsgd
from dsgd.errors import ConfigError, DataError, DivergedError

X, Y = make_problem(40, 6, seed=0)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.integers(),
    st.sampled_from([10**400, 1e308, 5e-324, -0.0]),
    st.floats(),
    st.complex_numbers(),
    st.fractions(),
    st.decimals(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from(["l1", "balanced", "constant", "logistic", "squared", "batch", "racy", "sgd", "locked"]),
    arrays.from_dtype(np.dtype("f2")),
    arrays.from_dtype(np.dtype("u1")),
    st.sampled_from([object(), print, int, ..., np.random.default_rng(0), np.datetime64("2026-01-01")]),
)
ARRAYS = arrays.arrays(
    st.one_of(arrays.scalar_dtypes(), st.just(np.dtype(object))),
    st.sampled_from([(), (0,), (6,), (7,), (40,), (40, 1), (40, 6), (2, 7), (3, 7), (40, 0), (0, 6), (40, 6, 1)]),
    fill=None,
)
GARBAGE = st.one_of(
    SCALARS,
    ARRAYS,
    st.lists(SCALARS, max_size=8),
    st.dictionaries(st.text(max_size=2) | st.sampled_from([-1.0, 1.0]), SCALARS),
)
PARAMETERS = [*inspect.signature(dsgd.fit).parameters, "block_size", "write"]
PARAMETERS = [name for name in PARAMETERS if name not in ("max_epochs", "algorithm_options")]


def fit_or_be_refused(path: Path, **changes: Any) -> None:
    """Fit with these parameters; anything but an error of dsgd, or a finite model, fails the test."""
    settings: dict[str, Any] = {"X": X, "y": Y, "algo": "hogwild", "n_threads": 2, "max_epochs": 2, "max_seconds": 5}
    settings.update(changes)
    if isinstance(settings["X"], str):
        settings["y"] = Y  # a path and labels: refused, whatever the path
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "epoch . diverged|the duality gap is|the columns of X are so different", RuntimeWarning
        )
        try:
            result = dsgd.fit(settings.pop("X"), settings.pop("y"), **settings)
        except (ConfigError, DataError, DivergedError):
            return
    assert np.isfinite(result.model.weights).all()
    result.save(path)
    assert dsgd.load(path).model.weights.tobytes() == result.model.weights.tobytes()


@pytest.mark.parametrize("parameter", PARAMETERS)
@settings(max_examples=60, derandomize=True)
@given(value=GARBAGE)
def test_garbage_for_one_parameter(parameter: str, value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    fit_or_be_refused(tmp_path_factory.getbasetemp() / "model", **{parameter: value})


@settings(max_examples=200, derandomize=True)
@given(changes=st.dictionaries(st.sampled_from(PARAMETERS), GARBAGE, min_size=2, max_size=4))
def test_garbage_for_several_parameters(changes: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    fit_or_be_refused(tmp_path_factory.getbasetemp() / "model", **changes)


@settings(max_examples=200, derandomize=True)
@given(
    kind=st.sampled_from(["csr", "csc", "coo", "bsr", "dia"]),
    attribute=st.integers(0, 2),
    value=st.one_of(
        st.integers(-(2**31), 2**31 - 1).map(lambda wrong: ("element", wrong)),
        st.integers(0, 50).map(lambda size: ("cut", size)),
        arrays.arrays(st.sampled_from(["i4", "i8", "u2", "f4", "f8", "?", "U2"]), st.integers(0, 60)).map(
            lambda array: ("array", array)
        ),
        SCALARS.map(lambda scalar: ("array", scalar)),
    ),
    data=st.data(),
)
def test_a_sparse_matrix_with_one_broken_part(
    kind: str, attribute: int, value: tuple[str, Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    matrix: Any = scipy.sparse.csr_array(X).asformat(kind).copy()
    names = {"coo": ("data", "row", "col"), "dia": ("data", "offsets", "offsets")}.get(
        kind, ("data", "indices", "indptr")
    )
    name = names[attribute]
    what, wrong = value
    try:
        if what == "element":
            part = getattr(matrix, name).ravel()
            part[data.draw(st.integers(0, len(part) - 1))] = wrong
        elif what == "cut":
            setattr(matrix, name, getattr(matrix, name)[:wrong])
        else:
            setattr(matrix, name, copy.copy(wrong))
    except (ArithmeticError, AttributeError, IndexError, RuntimeWarning, TypeError, ValueError):
        return  # scipy refuses it at once
    fit_or_be_refused(tmp_path_factory.getbasetemp() / "model", X=matrix)
