"""A label that is missing is refused by its row, in whatever way it is missing, and never trained as a class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dsgd
from dsgd.data import Dataset
from dsgd.errors import DataError

X = np.random.default_rng(0).normal(size=(6, 2))
WORDS: list[Any] = ["a", "b", "a", "a", "b", "a"]
NUMBERS: list[Any] = [1, 2, 1, 1, 2, 1]
MISSING: list[Any] = [None, np.nan, pd.NA, pd.NaT]
STRINGS: Any = np.dtypes


def with_missing(labels: list[Any], missing: Any) -> list[Any]:
    return [*labels[:2], missing, *labels[3:]]


FORMS: dict[str, Any] = {
    "list": list,
    "array": lambda y: np.array(y, object),
    "column": lambda y: np.array(y, object).reshape(-1, 1),
    "series": lambda y: pd.Series(y, dtype=object),
    "category": lambda y: pd.Series(y, dtype="category"),
}
LABELS: list[Any] = [
    *[
        pytest.param(form(with_missing(labels, missing)), id=f"{missing} {name} {labels[0]}")
        for missing in MISSING
        for labels in (WORDS, NUMBERS)
        for name, form in FORMS.items()
    ],
    pytest.param(pd.Series(with_missing(WORDS, None)), id="pandas words"),
    pytest.param(pd.Series(with_missing(WORDS, None), dtype="string"), id="pandas strings"),
    pytest.param(pd.Series(with_missing([True, False] * 3, None), dtype="boolean"), id="pandas booleans"),
]
# numpy and pandas make these the number nan.
NUMERIC: list[Any] = [
    pytest.param(np.array(with_missing(NUMBERS, np.nan)), id="floats"),
    pytest.param(pd.Series(with_missing(NUMBERS, None), dtype="Int64"), id="pandas integers"),
]

FITS: list[Any] = [
    pytest.param(lambda y: dsgd.fit(X, y, algo="sgd"), id="fit"),
    pytest.param(lambda y: dsgd.fit(X, y, algo="sgd", loss="squared"), id="regression"),
    pytest.param(lambda y: Dataset(X=X, y=y), id="Dataset"),
    pytest.param(lambda y: dsgd.fit(X, WORDS, algo="sgd", eval_set=(X, y)), id="eval_set"),
    pytest.param(lambda y: dsgd.fit(X, WORDS, algo="sgd", max_epochs=1).score(X, y), id="score"),
]
ESTIMATORS: list[Any] = [
    pytest.param(lambda y: dsgd.SGDClassifier().fit(X, y), id="SGDClassifier"),
    pytest.param(lambda y: dsgd.SGDClassifier().partial_fit(X, y, classes=["a", "b"]), id="partial_fit"),
    pytest.param(lambda y: dsgd.SGDRegressor().fit(X, y), id="SGDRegressor"),
    pytest.param(lambda y: dsgd.MLPClassifier((2,)).fit(X, y), id="MLPClassifier"),
]


@pytest.mark.parametrize("train", [*FITS, *ESTIMATORS])
@pytest.mark.parametrize("y", LABELS)
def test_a_missing_label_is_refused_by_its_row(train: Callable[[Any], Any], y: Any) -> None:
    message = r"y\[2\] is (missing \((None|nan|<NA>|NaT)\)|not finite); leave the sample out"  # the number nan
    with pytest.raises(DataError, match=message):
        train(y)


@pytest.mark.parametrize("y", NUMERIC)
def test_the_number_nan_is_refused_by_its_row(y: Any) -> None:
    for case in FITS:
        with pytest.raises(DataError, match=r"y\[2\] is not finite; leave the sample out"):
            case.values[0](y)
    for case in ESTIMATORS:
        with pytest.raises(DataError, match=r"Input y contains NaN: y\[2\] is missing \(nan\); leave the sample out"):
            case.values[0](y)


@pytest.mark.parametrize("train", [*FITS, *ESTIMATORS])
def test_masked_labels_are_refused(train: Callable[[Any], Any]) -> None:
    with pytest.raises(DataError, match="y has masked entries"):
        train(np.ma.array(NUMBERS, mask=np.arange(6) == 2))


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy below 2 has no strings of variable width")
def test_a_missing_string_of_variable_width_is_refused() -> None:
    labels = np.array(with_missing(WORDS, np.nan), dtype=STRINGS.StringDType(na_object=np.nan))
    for case in [*FITS, *ESTIMATORS]:
        with pytest.raises(DataError, match=r"y\[2\] is missing"):
            case.values[0](labels)
