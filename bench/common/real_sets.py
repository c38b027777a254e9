"""The real data sets of tests and benchmarks, each with a training and a test part."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from dsgd.data import load_csv, load_idx
from dsgd.data.inputs import match_features
from dsgd.data.libsvm import ReadOptions, load_libsvm_alike

__all__ = ["FOLDER", "SETS", "Parts", "present"]

FOLDER = Path(os.environ.get("DSGD_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


class Parts(NamedTuple):
    """A data set; `y` holds real numbers or labels of two classes or more."""

    X: Any
    y: Any
    X_test: Any
    y_test: Any
    regression: bool = False

    def binary(self) -> Parts:
        """Return the data with labels -1 and 1; of more than two classes class 3 is positive."""
        if self.regression:
            return self
        positive = 3 if len(np.unique(self.y)) > 2 else np.max(self.y)
        y, y_test = (np.where(labels == positive, 1.0, -1.0) for labels in (self.y, self.y_test))
        return self._replace(y=y, y_test=y_test)


def _text(train: str, test: str) -> Parts:
    """Read a pair of libsvm files; test features that training never saw are left out."""
    ((X, y), (X_test, y_test)), _ = load_libsvm_alike([FOLDER / train, FOLDER / test], ReadOptions())
    return Parts(X, y, match_features(X_test, X.shape[1]), y_test)


def _split(X: Any, y: Any, *, regression: bool = False, scale: bool = True) -> Parts:
    """Hold out 30 % of the rows; standardise by means and deviations of the others."""
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
    if scale:
        scaler = StandardScaler().fit(X)
        X, X_test = scaler.transform(X), scaler.transform(X_test)
    return Parts(X, y, X_test, y_test, regression)


def _phishing() -> Parts:
    [(X, y)], _ = load_libsvm_alike([FOLDER / "phishing.svm.xz"], ReadOptions())
    return _split(X, y, scale=False)


def _kdd() -> Parts:
    """Return normal connections against attacks; numbers standardised, the three categories one-hot."""
    train = load_csv(FOLDER / "kddcup99_train.csv.gz", target=-1, categorical=[1, 2, 3], header=False)
    test = load_csv(FOLDER / "kddcup99_test.csv.gz", target=-1, categorical=[1, 2, 3], header=False, like=train)
    names = train.feature_names or ()
    X, X_test = train.X.toarray(), test.X.toarray()
    numbers = ["=" not in name for name in names]
    scaler = StandardScaler().fit(X[:, numbers])
    X[:, numbers], X_test[:, numbers] = scaler.transform(X[:, numbers]), scaler.transform(X_test[:, numbers])
    return Parts(X, train.y == "normal.", X_test, test.y == "normal.")


def _mnist() -> Parts:
    train = load_idx(FOLDER / "train-images-idx3-ubyte.gz", FOLDER / "train-labels-idx1-ubyte.gz")
    test = load_idx(FOLDER / "t10k-images-idx3-ubyte.gz", FOLDER / "t10k-labels-idx1-ubyte.gz")
    return Parts(train.X, train.y, test.X, test.y)


def _skin() -> Parts:
    data = load_csv(FOLDER / "skin_nonskin.tsv.xz", target=-1, delimiter="\t", header=False)
    return _split(data.X, data.y)


def _casp(scale: bool = True) -> Parts:
    data = load_csv(FOLDER / "casp.csv.xz", target=0)
    return _split(data.X, data.y, regression=True, scale=scale)


def _year() -> Parts:
    data = load_csv(FOLDER / "yearprediction_subset.csv.xz", target=0, header=False)
    return _split(data.X, data.y, regression=True, scale=False)


SETS: dict[str, Callable[[], Parts]] = {
    "reuters": lambda: _text("reuters_earn_train.svm.xz", "reuters_earn_test.svm.xz"),
    "20news": lambda: _text("20news_train.svm.xz", "20news_test.svm.xz"),
    "a9a": lambda: _text("a9a_train.svm.xz", "a9a_test.svm.xz"),
    "phishing": _phishing,
    "kddcup99": _kdd,
    "mnist": _mnist,
    "skin": _skin,
    "casp": _casp,
    "casp unscaled": lambda: _casp(scale=False),
    "year": _year,
}


def present() -> bool:
    """Whether the real data is there."""
    return (FOLDER / "README.md").is_file()
