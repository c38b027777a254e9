"""What is taken as it comes, one row a kind: the result equals that of the plain form, bit for bit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from problems import make_problem

import dsgd

X, Y = make_problem(60, 12, seed=0)
DENSE = X.toarray()
ROUND = np.round(DENSE * 4)  # exact in every type of number
POSITIVE = Y > 0


def fit(**changes: Any) -> dsgd.FitResult:
    settings: dict[str, Any] = {"X": X, "y": Y, "algo": "sgd", "random_state": 0, "max_epochs": 3, **changes}
    return dsgd.fit(settings.pop("X"), settings.pop("y"), **settings)


def assert_same(given: dict[str, Any], plain: dict[str, Any]) -> None:
    a, b = fit(**given), fit(**plain)
    assert a.model.weights.dtype == b.model.weights.dtype
    assert a.model.weights.tobytes() == b.model.weights.tobytes()
    assert np.abs(b.coef_).max() > 0


def spread(values: Any) -> Any:
    """Return a view of every second row and third column of a larger array."""
    large = np.full((2 * values.shape[0], 3 * values.shape[1]), np.nan)
    large[::2, ::3] = values
    return large[::2, ::3]


def unaligned(values: Any) -> Any:
    return np.frombuffer(b"." + values.tobytes(), np.uint8)[1:].view(values.dtype).reshape(values.shape)


def read_only(values: Any) -> Any:
    copy = values.copy()
    copy.flags.writeable = False
    return copy


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(given, id=name)
        for name, given in {
            "Fortran order": np.asfortranarray(ROUND),
            "strided view": spread(ROUND),
            "reversed view": ROUND[:, ::-1].copy()[:, ::-1],
            "big-endian": ROUND.astype(">f8"),
            "unaligned": unaligned(ROUND),
            "read-only": read_only(ROUND),
            "float16": ROUND.astype(np.float16),
            "long double": ROUND.astype(np.longdouble),
            "int8": ROUND.astype(np.int8),
            "int64": ROUND.astype(np.int64),
            "objects": ROUND.astype(object),
            "fractions": np.vectorize(Fraction, otypes=[object])(ROUND),
            "lists": ROUND.tolist(),
            "tuples": tuple(map(tuple, ROUND.tolist())),
            "list of rows": list(ROUND),
            "np.matrix": ROUND.view(np.matrix),
            "masked array without masked entries": np.ma.array(ROUND),
            "DataFrame": pd.DataFrame(ROUND, columns=list("abcdefghijkl"), index=range(100, 160)),
            "DataFrame of several types": pd.DataFrame(ROUND).astype({0: np.int64, 1: np.float32, 2: object}),
            "DataFrame of nullable types": pd.DataFrame(ROUND).astype("Float64"),
            "DataFrame of categories": pd.DataFrame(ROUND).astype("category"),
            "sparse DataFrame": pd.DataFrame.sparse.from_spmatrix(scipy.sparse.csr_matrix(ROUND)),
        }.items()
    ],
)
def test_a_dense_matrix_of_any_kind(given: Any) -> None:
    assert_same({"X": given}, {"X": ROUND})


def test_truth_values_and_one_row_many_times() -> None:
    assert_same({"X": ROUND > 0}, {"X": (ROUND > 0).astype(float)})
    assert_same({"X": np.broadcast_to(ROUND[0], ROUND.shape)}, {"X": np.tile(ROUND[0], (60, 1))})


def test_a_memory_map(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", ROUND)
    assert_same({"X": np.load(tmp_path / "X.npy", mmap_mode="r")}, {"X": ROUND})


def with_parts(**parts: Any) -> Any:
    matrix = scipy.sparse.csr_array(ROUND)
    for name, value in parts.items():
        setattr(matrix, name, value)
    return matrix


def shuffled() -> Any:
    """Return the matrix with the columns of every row in falling order."""
    matrix = scipy.sparse.csr_array(ROUND)
    for begin, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        matrix.indices[begin:end] = matrix.indices[begin:end][::-1].copy()
        matrix.data[begin:end] = matrix.data[begin:end][::-1].copy()
    return scipy.sparse.csr_array((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)


def halves() -> Any:
    """Return the matrix with every entry in two equal parts."""
    plain = scipy.sparse.csr_array(ROUND)
    parts = np.repeat(plain.data / 2, 2), np.repeat(plain.indices, 2), 2 * plain.indptr
    return scipy.sparse.csr_array(parts, shape=plain.shape)


PLAIN = scipy.sparse.csr_array(ROUND)
FORMATS = ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"]


@pytest.mark.parametrize(
    "given",
    [
        *(pytest.param(PLAIN.asformat(name), id=f"{name}_array") for name in FORMATS if name != "dia"),
        *(
            pytest.param(scipy.sparse.csr_matrix(ROUND).asformat(name), id=f"{name}_matrix")
            for name in FORMATS
            if name != "dia"
        ),
        *(
            pytest.param(given, id=name)
            for name, given in {
                "unsorted columns": shuffled(),
                "duplicates": halves(),
                "duplicates of a coo": halves().tocoo(),
                "int64 indices": with_parts(
                    indices=PLAIN.indices.astype(np.int64), indptr=PLAIN.indptr.astype(np.int64)
                ),
                "indices of two types": with_parts(indptr=PLAIN.indptr.astype(np.int64)),
                "int16 indices": with_parts(indices=PLAIN.indices.astype(np.int16)),
                "big-endian": with_parts(data=PLAIN.data.astype(">f8"), indices=PLAIN.indices.astype(">i4")),
                "whole numbers": PLAIN.astype(np.int8),
                "long doubles": PLAIN.astype(np.longdouble),
                "unused room at the end": with_parts(
                    data=np.append(PLAIN.data, np.nan), indices=np.append(PLAIN.indices, -1)
                ),
                "strided parts": with_parts(
                    data=np.repeat(PLAIN.data, 2)[::2], indices=np.repeat(PLAIN.indices, 2)[::2]
                ),
                "read-only": with_parts(data=read_only(PLAIN.data), indices=read_only(PLAIN.indices)),
            }.items()
        ),
    ],
)
def test_a_sparse_matrix_of_any_kind(given: Any) -> None:
    assert_same({"X": given}, {"X": PLAIN})


def test_a_diagonal_matrix() -> None:
    band = scipy.sparse.diags_array([np.ones(60), np.full(59, -2.0)], offsets=[0, 1], shape=(60, 60))
    assert_same({"X": band}, {"X": scipy.sparse.csr_array(band.toarray())})


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(given, id=name)
        for name, given in {
            "list": Y.tolist(),
            "tuple": tuple(Y.tolist()),
            "column": Y[:, None],
            "np.matrix": Y.reshape(60, 1).view(np.matrix),
            "whole numbers": Y.astype(np.int8),
            "truth values": POSITIVE,
            "0 and 1": POSITIVE.astype(np.uint8),
            "two numbers that are not whole": np.where(POSITIVE, 2.7, 1.5),
            "float16": Y.astype(np.float16),
            "long double": Y.astype(np.longdouble),
            "big-endian": Y.astype(">f8"),
            "strided view": np.repeat(Y, 2)[::2],
            "objects": Y.astype(object),
            "words": np.where(POSITIVE, "spam", "ham"),
            "list of words": np.where(POSITIVE, "spam", "ham").tolist(),
            "words as objects": np.where(POSITIVE, "spam", "ham").astype(object),
            "masked array without masked entries": np.ma.array(Y),
            "Series with another index": pd.Series(Y, index=range(100, 160)),
            "Series of nullable integers": pd.Series(Y).astype("Int64"),
            "Series of categories": pd.Series(np.where(POSITIVE, "spam", "ham")).astype("category"),
            "Series of strings": pd.Series(np.where(POSITIVE, "spam", "ham")).astype("string"),
            "DataFrame of one column": pd.DataFrame({"y": Y}),
        }.items()
    ],
)
def test_labels_of_any_kind(given: Any, tmp_path: Path) -> None:
    assert_same({"y": given}, {})
    result = fit(y=given, eval_set=(X, given))
    assert result.history[-1].score == fit(eval_set=(X, Y)).history[-1].score == result.score(X, given)
    result.save(tmp_path / "model")
    assert dsgd.load(tmp_path / "model").predict(X).tolist() == result.predict(X).tolist()


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"sample_weight": [1] * 60}, {}),
        ({"sample_weight": np.arange(60)}, {"sample_weight": np.arange(60.0)}),
        ({"sample_weight": pd.Series(np.arange(60))}, {"sample_weight": np.arange(60.0)}),
        ({"sample_weight": POSITIVE}, {"sample_weight": POSITIVE.astype(float)}),
        (
            {"sample_weight": np.arange(60) % 2, "y": np.where(np.arange(60) % 2, Y, -Y)},
            {"sample_weight": np.arange(60) % 2},
        ),
        ({"class_weight": {np.float64(1): np.int64(2)}}, {"class_weight": {1: 2}}),
        ({"class_weight": {1: 0.5, -1: 0.5}}, {"sample_weight": np.full(60, 0.5)}),
        ({"class_weight": {1: 2, -1: 1, 7: 3}}, {"class_weight": {1: 2}}),  # as in a fold without the class 7
        ({"penalty": None}, {"penalty": "none"}),
        ({"init": [0] * 13}, {}),
        ({"init": pd.Series(np.zeros(13))}, {}),
        ({"alpha": np.float32(0.25)}, {"alpha": 0.25}),
        ({"alpha": Fraction(1, 4)}, {"alpha": 0.25}),
        ({"alpha": 1}, {"alpha": 1.0}),
        ({"step_size": np.float16(0.25)}, {"step_size": 0.25}),
        ({"algo": "hogwild", "merge_every": np.int8(8), "n_threads": 1}, {"algo": "hogwild", "n_threads": 1}),
        ({"average": np.bool_(True)}, {"average": 1}),
        ({"average": np.int32(40)}, {"average": 40}),
        ({"algo": "minibatch", "batch_size": np.uint8(8)}, {"algo": "minibatch", "batch_size": 8}),
        (
            {
                "inner_steps": np.uint8(80),
                "max_sigma": np.float32(0.5),
                "safe": np.bool_(True),
                "algo": "svrg",
                "n_threads": 1,
            },
            {"inner_steps": 80, "max_sigma": 0.5, "safe": True, "algo": "svrg", "n_threads": 1},
        ),
        ({"step_size": np.int64(1)}, {"step_size": 1.0}),
        (
            {"algo": "sdca", "max_rest": np.uint8(3), "merge_every": np.int8(4), "damping": 2, "n_threads": 1},
            {"algo": "sdca", "max_rest": 3, "merge_every": 4, "damping": 2.0, "n_threads": 1},
        ),
        ({"algo": "batch", "step_size": np.float32(0.25)}, {"algo": "batch", "step_size": 0.25}),
        ({"penalty": "elasticnet", "l1_ratio": np.float32(0.5)}, {"penalty": "elasticnet", "l1_ratio": 0.5}),
        ({"max_epochs": np.uint8(4)}, {"max_epochs": 4}),
        ({"evaluate_every": np.uint8(2), "max_epochs": 300}, {"max_epochs": 300}),
        (
            {"tol": np.float32(0.5), "patience": np.uint8(1), "max_epochs": 9},
            {"tol": 0.5, "patience": 1, "max_epochs": 9},
        ),
        ({"max_seconds": np.int64(1000)}, {"schedule": "inverse-time"}),
        ({"n_threads": np.int64(1)}, {}),
        ({"random_state": np.uint64(2**64 - 1)}, {"random_state": 2**64 - 1}),
        ({"block_size": np.int32(4)}, {"block_size": 4}),
        ({"fit_intercept": np.bool_(False)}, {"fit_intercept": False}),
        ({"loss": np.str_("logistic")}, {"loss": "logistic"}),
        ({"callbacks": (print,), "max_epochs": 1}, {"max_epochs": 1}),
    ],
    ids=lambda value: ", ".join(f"{k}={type(v).__name__}" for k, v in value.items()),
)
def test_numbers_and_weights_of_any_kind(given: dict[str, Any], plain: dict[str, Any], tmp_path: Path) -> None:
    assert_same(given, plain)
    result = fit(**given)
    result.save(tmp_path / "model")
    assert dsgd.load(tmp_path / "model").history == result.history


def test_rows_and_columns_without_entries() -> None:
    rows = scipy.sparse.vstack([PLAIN, scipy.sparse.csr_array((60, 12))], format="csr")
    result = fit(X=rows, y=np.tile(Y, 2))
    assert np.isfinite(result.model.weights).all()
    assert (result.decision_function(rows)[60:] == result.intercept_).all()
    wide = scipy.sparse.hstack([PLAIN, scipy.sparse.csr_array((60, 3))], format="csr")
    assert np.isfinite(fit(X=rows, y=np.tile(Y, 2)).model.weights).all()
    result = fit(X=wide)
    assert (result.coef_[:12] == fit(X=PLAIN).coef_).all()
    assert (result.coef_[12:] == 0).all()


@pytest.mark.parametrize("algo", ["sgd", "hogwild", "batch", "svrg", "sdca"])
@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"X": scipy.sparse.csr_array((60, 12))}, id="no entry at all"),
        pytest.param({"X": np.zeros((60, 12))}, id="zeros"),
        pytest.param({"X": np.ones((60, 3))}, id="features without variance"),
        pytest.param({"X": ROUND[:, :1]}, id="one feature"),
        pytest.param({"X": ROUND[:1], "y": [3.0], "loss": "squared"}, id="one row"),
        pytest.param({"X": ROUND[:2], "y": ["a", "b"]}, id="two rows"),
        pytest.param({"X": ROUND[:3], "y": ["a", "b", "c"]}, id="a class a row, of three"),
        pytest.param({"y": np.zeros(60), "loss": "squared"}, id="targets of zero"),
        pytest.param({"X": DENSE * 1e-310}, id="subnormal entries"),
        pytest.param({"y": Y * 1e100, "loss": "huber"}, id="large targets"),
        pytest.param({"y": Y * 5e-324, "loss": "squared"}, id="the smallest targets"),
        pytest.param({"alpha": 1e308}, id="the largest penalty"),
        pytest.param({"alpha": 1e308, "penalty": "l1", "X": DENSE.astype(np.float32)}, id="a penalty beyond float32"),
        pytest.param({"step_size": 5e-324}, id="the smallest step"),
    ],
)
def test_the_edges_give_a_finite_model(algo: str, given: dict[str, Any]) -> None:
    if algo == "sdca" and given.keys() & {"penalty", "step_size"}:
        pytest.skip("refused: see test_refusals.py")
    result = fit(**{**given, "algo": algo})
    assert np.isfinite(result.model.weights).all()
    assert np.isfinite(result.decision_function(given.get("X", X))).all()
    assert result.history.to_json()
