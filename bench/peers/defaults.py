"""Every library with its own defaults, for "out of the box": fits of a class of tasks and what they predict.

Nothing is set but the kind of model, where a library has several, and the number of threads, where
its default is one. LIBLINEAR and Vowpal Wabbit read the rows in a form of their own; `prepare` makes
it, and its time is told apart.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn import cluster, linear_model, svm

import dsgd
from common.real_sets import Parts
from peers.solvers import LIBLINEAR, absent

__all__ = ["ENTRIES", "Entry", "Fitted", "classes_of", "linear"]

CLUSTERS = 10
SGD = "alpha 1e-4"  # the objective of SGDClassifier and SGDRegressor, which is that of `dsgd.fit` too


class Fitted(NamedTuple):
    """A trained model: its predictions, and its weights (classes, features) and intercepts where they are told."""

    predict: Callable[[Any], NDArray[Any]]
    linear: Callable[[], tuple[NDArray[Any], NDArray[Any]]] | None = None


@dataclass(frozen=True)
class Entry:
    """A library with its defaults: `prepare` readies the training data, `fit` is timed."""

    fit: Callable[[Any], Fitted]
    package: str = "dsgd"
    objective: str | None = None
    """The objective, if it is one that several entries have."""
    prepare: Callable[[Parts], Any] = lambda parts: parts

    @property
    def missing(self) -> str | None:
        """The reason why it cannot run, or None."""
        return absent(self.package)


def classes_of(y: NDArray[Any]) -> NDArray[Any]:
    """Return the classes of labels, in order."""
    return np.asarray(np.unique(y))


def linear(model: Any) -> Fitted:
    """Return a linear model with its weights."""
    return Fitted(model.predict, lambda: (np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)))


def _estimator(make: Callable[[], Any], package: str = "sklearn", objective: str | None = None) -> Entry:
    """Return an estimator with the interface of scikit-learn."""

    def fit(parts: Parts) -> Fitted:
        model = make().fit(parts.X, parts.y)
        return linear(model) if objective == SGD else Fitted(model.predict)

    return Entry(fit, package, objective)


def _ours(algo: str, objective: str | None = SGD, **settings: Any) -> Entry:
    def fit(parts: Parts) -> Fitted:
        if objective == "inertia":
            model: Any = dsgd.fit(parts.X, algo=algo, **settings).model
            return Fitted(partial(_nearest, model.centres))
        return linear(dsgd.fit(parts.X, parts.y, algo=algo, **settings))

    return Entry(fit, objective=objective)


def _nearest(centres: NDArray[Any], X: Any) -> NDArray[Any]:
    """Return the squared distances of rows from their nearest centres."""
    centres = centres.astype(np.float64)
    squares = np.square(X, dtype=np.float64).sum(axis=1)[:, None] + np.square(centres).sum(axis=1) - 2 * (X @ centres.T)
    return np.asarray(squares.min(axis=1))


def _clusters(make: Callable[[], Any], package: str = "sklearn") -> Entry:
    def fit(parts: Parts) -> Fitted:
        return Fitted(partial(_nearest, make().fit(parts.X).cluster_centers_))

    return Entry(fit, package, "inertia")


def _snap(kind: str, threads: int) -> Entry:
    def make() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the module of numpy by which it finds AVX2
            import snapml
        return getattr(snapml, kind)(n_jobs=threads)

    return _estimator(make, "snapml")


def _cyanure(kind: str) -> Entry:
    def make() -> Any:
        from cyanure import estimators

        return getattr(estimators, kind)(verbose=False)

    return _estimator(make, "cyanure")


def _skglm(kind: str) -> Entry:
    def make() -> Any:
        import skglm

        return getattr(skglm, kind)()

    return _estimator(make, "skglm")


def _xgboost(kind: str) -> Entry:
    def fit(parts: Parts) -> Fitted:
        import xgboost

        if parts.regression:
            return Fitted(xgboost.XGBRegressor(booster="gblinear").fit(parts.X, parts.y).predict)
        classes, numbers = np.unique(parts.y, return_inverse=True)
        model = getattr(xgboost, kind)(booster="gblinear").fit(parts.X, numbers)
        return Fitted(lambda X: classes[model.predict(X)])

    return Entry(fit, "xgboost")


def _liblinear(options: str = "") -> Entry:
    def prepare(parts: Parts) -> Any:
        from liblinear.liblinearutil import problem

        return problem(np.asarray(parts.y, np.float64), parts.X), parts.X.shape[1]

    def fit(ready: Any) -> Fitted:
        from liblinear.liblinearutil import parameter, train

        rows, n_features = ready
        model = train(rows, parameter(f"-q {options}"))

        def predict(X: Any) -> NDArray[Any]:
            # Two classes, and regression, have one set of weights; its features are counted from 1.
            n = model.nr_class if model.nr_class > 2 else 1
            w = np.array(model.w[: n_features * n]).reshape(n_features, n)
            z = np.asarray(X @ w)
            if "-s 11" in options:
                return z[:, 0]
            labels = np.array(model.get_labels())
            return np.asarray(labels[z.argmax(axis=1)] if n > 1 else labels[(z[:, 0] <= 0).astype(int)])

        return Fitted(predict)

    return Entry(fit, LIBLINEAR, prepare=prepare)


def _text(X: Any, labels: NDArray[Any], path: Path) -> None:
    """Write rows in the format of Vowpal Wabbit."""
    rows = scipy.sparse.csr_matrix(X)
    with path.open("w") as file:
        for i, label in enumerate(labels):
            part = slice(rows.indptr[i], rows.indptr[i + 1])
            entries = " ".join(f"{j}:{v:.7g}" for j, v in zip(rows.indices[part], rows.data[part], strict=True))
            file.write(f"{label:.9g} | {entries}\n")


def _vowpal(options: str, classes: bool) -> Entry:
    """Return one pass of Vowpal Wabbit over a file of text, which is its default."""

    def prepare(parts: Parts) -> Any:
        folder = tempfile.TemporaryDirectory()
        names = classes_of(parts.y)
        several = classes and len(names) > 2
        _text(parts.X, np.searchsorted(names, parts.y) + 1 if several else parts.y, Path(folder.name) / "train")
        return folder, names if classes else None, f"{options} --oaa {len(names)}" if several else options

    def fit(ready: Any) -> Fitted:
        import vowpalwabbit

        folder, names, settings = ready
        path = Path(folder.name)
        vowpalwabbit.Workspace(f"{settings} -d {path}/train -f {path}/model --quiet").finish()

        def predict(X: Any) -> NDArray[Any]:
            _text(X, np.ones(X.shape[0]), path / "test")
            vowpalwabbit.Workspace(f"-t -i {path}/model -d {path}/test -p {path}/seen --quiet").finish()
            z = np.loadtxt(path / "seen", ndmin=1)
            if names is None:
                return np.asarray(z)
            return np.asarray(names[z.astype(int) - 1] if len(names) > 2 else np.where(z > 0, names[1], names[0]))

        return Fitted(predict)

    return Entry(fit, "vowpalwabbit", prepare=prepare)


def _classifiers() -> dict[str, Entry]:
    ours = {f"dsgd.fit {algo}": _ours(algo) for algo in ("auto", "sgd", "hogwild")}
    return ours | {
        "dsgd.SGDClassifier": _estimator(dsgd.SGDClassifier, "dsgd", SGD),
        "dsgd.SGDClassifier, 2 jobs": _estimator(partial(dsgd.SGDClassifier, n_jobs=2), "dsgd", SGD),
        "SGDClassifier": _estimator(linear_model.SGDClassifier, objective=SGD),
        "SGDClassifier, 2 jobs": _estimator(partial(linear_model.SGDClassifier, n_jobs=2), objective=SGD),
        "LogisticRegression": _estimator(linear_model.LogisticRegression),
        "LinearSVC": _estimator(svm.LinearSVC),
        "LIBLINEAR": _liblinear(),
        "LIBLINEAR, 2 threads": _liblinear("-m 2"),
        "Snap ML SVM": _snap("SupportVectorMachine", 1),
        "Snap ML SVM, 2 threads": _snap("SupportVectorMachine", 2),
        "Snap ML logistic": _snap("LogisticRegression", 1),
        "Snap ML logistic, 2 threads": _snap("LogisticRegression", 2),
        "Cyanure": _cyanure("Classifier"),
        "skglm LinearSVC": _skglm("LinearSVC"),
        "Vowpal Wabbit": _vowpal("--loss_function hinge", classes=True),
        "XGBoost gblinear": _xgboost("XGBClassifier"),
    }


def _regressors() -> dict[str, Entry]:
    ours = {f"dsgd.fit {algo}": _ours(algo, loss="squared") for algo in ("auto", "sgd", "hogwild")}
    return ours | {
        "dsgd.SGDRegressor": _estimator(dsgd.SGDRegressor, "dsgd", SGD),
        "dsgd.SGDRegressor, 2 jobs": _estimator(partial(dsgd.SGDRegressor, n_jobs=2), "dsgd", SGD),
        "SGDRegressor": _estimator(linear_model.SGDRegressor, objective=SGD),
        "Ridge": _estimator(linear_model.Ridge),
        "LIBLINEAR": _liblinear("-s 11"),
        "LIBLINEAR, 2 threads": _liblinear("-s 11 -m 2"),
        "Snap ML": _snap("LinearRegression", 1),
        "Snap ML, 2 threads": _snap("LinearRegression", 2),
        "Cyanure": _cyanure("Regression"),
        "Vowpal Wabbit": _vowpal("", classes=False),
        "XGBoost gblinear": _xgboost("XGBRegressor"),
    }


ENTRIES: Mapping[str, Callable[[], dict[str, Entry]]] = {
    "classes": _classifiers,
    "regression": _regressors,
    "k-means": lambda: {
        "dsgd.fit minibatch": _ours("minibatch", "inertia", loss=dsgd.losses.KMeans(CLUSTERS)),
        "dsgd.fit hogwild": _ours("hogwild", "inertia", loss=dsgd.losses.KMeans(CLUSTERS)),
        "dsgd.KMeans": _clusters(partial(dsgd.KMeans, CLUSTERS), "dsgd"),
        "dsgd.KMeans, 1 job": _clusters(partial(dsgd.KMeans, CLUSTERS, n_jobs=1), "dsgd"),
        "KMeans": _clusters(partial(cluster.KMeans, CLUSTERS)),
        "MiniBatchKMeans": _clusters(partial(cluster.MiniBatchKMeans, CLUSTERS)),
    },
}
"""The entries of a class of tasks, by name; those of dsgd begin with "dsgd"."""
