"""The estimators of `dsgd.dask`: they train as `dsgd.fit` does, and predict where the rows lie as local ones do."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_clusterer, is_regressor
from sklearn.utils import check_random_state

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
pd = pytest.importorskip("pandas")

from dask_chunks import (
    BINARY,
    CHUNKS,
    LABELS,
    N_FEATURES,
    NAMES,
    RANDOM,
    REAL,
    WEIGHT,
    N,
    X,
    delayed,
    rows,
    series,
)
from dask_fits import start

import dsgd
from dsgd import losses
from dsgd.algorithms import Ssp
from dsgd.dask import KMeans, MLPClassifier, SGDClassifier, SGDRegressor
from dsgd.errors import ConfigError, DataError

PAGE = Path(__file__).parents[2] / "docs" / "dask.md"
BSP = Ssp(staleness=0)
SEED = int(check_random_state(5).randint(2**31 - 1))  # of random_state=5


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with start() as cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


ESTIMATORS: dict[str, tuple[Any, Any]] = {
    "hinge": (SGDClassifier(), BINARY),
    "one-vs-all": (SGDClassifier("log_loss"), LABELS),
    "softmax": (SGDClassifier("softmax"), LABELS),
    "two classes": (SGDClassifier("softmax"), BINARY),
    "regression": (SGDRegressor(), REAL),
    "kmeans": (KMeans(3), None),
    "mlp": (MLPClassifier((6,)), LABELS),
}


@pytest.fixture(scope="module", params=ESTIMATORS)
def fitted(request: pytest.FixtureRequest, client: Any) -> tuple[Any, Any]:
    """Return a fitted estimator, and the targets."""
    model, y = ESTIMATORS[request.param]
    model = clone(model).set_params(algo=BSP, max_iter=3, random_state=5, client=client)
    return model.fit(rows(X), None if y is None else rows(y)), y


def weights_of(model: Any) -> Any:
    return model.result_.model.weights


@pytest.mark.parametrize(
    ("model", "y", "options"),
    [
        (
            SGDClassifier("log_loss", penalty="elasticnet", alpha=1e-3, l1_ratio=0.3, tol=None),
            BINARY,
            {"loss": "logistic", "penalty": "elasticnet", "alpha": 1e-3, "l1_ratio": 0.3},
        ),
        (
            SGDRegressor("huber", epsilon=0.5, learning_rate="constant", eta0=0.05, fit_intercept=False),
            REAL,
            {
                "loss": losses.Huber(0.5),
                "schedule": "constant",
                "step_size": 0.05,
                "fit_intercept": False,
                "tol": 1e-3,
            },
        ),
        (KMeans(3, init="random"), None, {"loss": losses.KMeans(3, init="random")}),
        (MLPClassifier((6,), alpha=1e-3), LABELS, {"loss": losses.MLP((6,)), "alpha": 1e-3, "evaluate_every": 3}),
    ],
    ids=["classifier", "regressor", "kmeans", "mlp"],
)
def test_an_estimator_trains_as_fit_does(client: Any, model: Any, y: Any, options: dict[str, Any]) -> None:
    data = rows(X), None if y is None else rows(y)
    result = dsgd.fit(*data, algo=BSP, cluster=client, max_epochs=3, random_state=SEED, **options)
    model.set_params(algo=BSP, max_iter=3, random_state=5, client=client).fit(*data)
    np.testing.assert_array_equal(weights_of(model), result.model.weights)
    assert [record.objective for record in model.history_] == [record.objective for record in result.history]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_attributes_are_those_of_the_local_estimator(fitted: tuple[Any, Any]) -> None:
    model, y = fitted
    local = type(model.to_local())(max_iter=3, **({"n_clusters": 3} if y is None else {}))
    if "softmax" in getattr(model, "loss", ""):
        local.loss = "softmax"
    local.fit(X, y)
    theirs = {name for name in vars(local) if name.endswith("_")} - {"t_", "n_steps_"}
    assert theirs <= {name for name in vars(model) if name.endswith("_")}
    for name in ("coef_", "intercept_", "cluster_centers_"):
        if hasattr(local, name):
            assert getattr(model, name).shape == getattr(local, name).shape
    assert model.n_features_in_ == N_FEATURES
    assert model.n_iter_ == model.history_[-1].epoch == 3
    kinds = [is_classifier(model), is_regressor(model), is_clusterer(model)]
    assert kinds == [is_classifier(local), is_regressor(local), is_clusterer(local)]


METHODS = ["predict", "decision_function", "predict_proba", "predict_log_proba", "transform"]


@pytest.mark.parametrize("kind", CHUNKS)
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_predictions_are_those_of_the_local_estimator(fitted: tuple[Any, Any], kind: str) -> None:
    model, _ = fitted
    local, chunks = model.to_local(), CHUNKS[kind](X)
    given, tolerance = (X.astype(np.float32), 1e-5) if kind == "float32" else (X, 1e-12)
    for method in METHODS:
        assert hasattr(model, method) == hasattr(local, method)
        if hasattr(local, method):
            there, here = getattr(model, method)(chunks), getattr(local, method)(given)
            assert there.dtype == here.dtype
            assert there.ndim == here.ndim
            computed = there.compute(scheduler="synchronous")
            assert computed.dtype == here.dtype
            if here.dtype.kind == "f":
                np.testing.assert_allclose(computed, here, rtol=tolerance, atol=tolerance)
            else:
                np.testing.assert_array_equal(computed, here)
            assert kind in ("unknown", "frame", "list") or there.shape == here.shape
            np.testing.assert_array_equal(getattr(model, method)(given), here)


@pytest.mark.parametrize("kind", ["numpy", "unknown", "csr_array", "frame", "list"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_scores_are_those_of_the_local_estimator(fitted: tuple[Any, Any], kind: str, weighted: bool) -> None:
    model, y = fitted
    like = rows if kind == "csr_array" else series if kind == "frame" else CHUNKS[kind]
    there = model.score(
        CHUNKS[kind](X), None if y is None else like(y), sample_weight=like(WEIGHT) if weighted else None
    )
    here = model.to_local().score(X, y, sample_weight=WEIGHT if weighted else None)
    assert float(there.compute(scheduler="synchronous")) == pytest.approx(here, rel=1e-12)
    assert model.score(X, y) == model.to_local().score(X, y)


def test_nothing_is_computed_before_it_is_asked_for(fitted: tuple[Any, Any]) -> None:
    model, y = fitted

    def never() -> Any:
        raise AssertionError("a chunk was computed")

    chunk, labels = dask.delayed(never)(), None if y is None else da.from_delayed(dask.delayed(never)(), (9,), y.dtype)
    lazy = [getattr(model, name)([chunk, chunk]) for name in METHODS if hasattr(model, name)]
    lazy.append(model.score(da.from_delayed(chunk, (9, N_FEATURES), float), labels))
    for each in lazy:
        with pytest.raises(AssertionError, match="a chunk was computed"):
            each.compute(scheduler="synchronous")


def test_a_graph_has_the_model_once(client: Any) -> None:
    wide = RANDOM.normal(size=(N, 5000))
    model = SGDClassifier(max_iter=1, tol=None, client=client).fit(rows(wide), rows(BINARY))
    few, many = (pickle.dumps(dict(model.predict(da.zeros((N, 5000), chunks=(size, -1))).dask)) for size in (45, 1))
    assert len(many) < len(few) + model.coef_.nbytes


@pytest.fixture(scope="module")
def classifiers(client: Any) -> Callable[..., Any]:
    """Return a function that returns the weights of a classifier with these parameters."""
    common = {"algo": BSP, "max_iter": 3, "tol": None, "random_state": 5, "client": client}
    known: dict[str, Any] = {}

    def weights(**change: Any) -> Any:
        if str(change) not in known:
            known[str(change)] = SGDClassifier(**{**common, **change}).fit(rows(X), rows(BINARY)).coef_
        return known[str(change)]

    return weights


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "log_loss"},
        {"penalty": "l1"},
        {"alpha": 0.1},
        {"fit_intercept": False},
        {"max_iter": 2},
        {"tol": 0.5, "n_iter_no_change": 1, "max_iter": 9},
        {"random_state": 6},
        {"learning_rate": "optimal"},
        {"learning_rate": "constant"},
        {"learning_rate": "constant", "eta0": 0.5},
        {"learning_rate": "invscaling"},
        {"learning_rate": "invscaling", "power_t": 0.1},
        {"class_weight": {True: 5.0, False: 1.0}},
        {"class_weight": "balanced"},
        {"algo": Ssp(staleness=0, batch_size=3)},
    ],
    ids=str,
)
def test_every_parameter_of_the_classifier_changes_the_result(
    classifiers: Callable[..., Any], change: dict[str, Any]
) -> None:
    before = {"learning_rate": change["learning_rate"]} if len(change) == 2 and "learning_rate" in change else {}
    assert not np.allclose(classifiers(**before), classifiers(**change))


@pytest.mark.parametrize(
    "change",
    [
        {"n_clusters": 4},
        {"init": "random"},
        {"max_iter": 3},
        {"max_iter": 9, "tol": 0.9},
        {"random_state": 6},
        {"hidden_layer_sizes": (3,)},
        {"alpha": 1.0},
        {"learning_rate_init": 0.1},
    ],
    ids=str,
)
def test_every_parameter_of_kmeans_and_networks_changes_the_result(client: Any, change: dict[str, Any]) -> None:
    model, y = (KMeans(3), None) if hasattr(KMeans(), next(iter(change))) else (MLPClassifier((6,)), rows(LABELS))
    model.set_params(algo=BSP, max_iter=9 if "tol" in change else 2, random_state=5, client=client)
    one, other = (weights_of(each.fit(rows(X), y)) for each in (model, clone(model).set_params(**change)))
    assert one.shape != other.shape or not np.allclose(one, other)


def test_threads_and_progress_reach_the_fit(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def record(*_: Any, **options: Any) -> Any:
        seen.update(options)
        raise Stop

    seen: dict[str, Any] = {}
    monkeypatch.setattr("dsgd.dask.estimators.base.fit", record)
    with pytest.raises(Stop):
        SGDClassifier(n_threads=3, verbose=1, client=client).fit(rows(X), rows(BINARY))
    assert (seen["n_threads"], seen["progress"], seen["cluster"]) == (3, True, client)


def test_weights_of_rows_count(client: Any) -> None:
    common = {"algo": BSP, "max_iter": 3, "random_state": 5, "client": client}
    one, other = (SGDRegressor(**common).fit(rows(X), rows(REAL), each).coef_ for each in (None, rows(WEIGHT)))
    assert not np.allclose(one, other)


def test_the_unit_of_the_weights_does_not_count_in_kmeans(client: Any) -> None:
    model = KMeans(3, algo=BSP, max_iter=2, random_state=5, client=client)
    one, other = (clone(model).fit(rows(X), sample_weight=rows(WEIGHT * unit)) for unit in (1.0, 64.0))
    np.testing.assert_allclose(one.cluster_centers_, other.cluster_centers_, rtol=1e-12)
    assert float(other.inertia_) == pytest.approx(64 * float(one.inertia_), rel=1e-12)
    assert not np.allclose(one.cluster_centers_, clone(model).fit(rows(X)).cluster_centers_)


def test_kmeans_has_lazy_labels_and_starts_where_it_is_told(client: Any) -> None:
    model = KMeans(3, init=X[:3], algo=BSP, max_iter=2, random_state=5, client=client).fit(delayed(X))
    again = clone(model).set_params(compute_labels=False, init=X[3:6]).fit(rows(X))
    assert not np.allclose(model.cluster_centers_, again.cluster_centers_)
    assert not hasattr(again, "labels_")
    local = model.to_local()
    np.testing.assert_array_equal(model.labels_.compute(scheduler="synchronous"), local.predict(X))
    assert float(model.inertia_) == pytest.approx(-local.score(X), rel=1e-12)
    assert model.fit_predict(rows(X)).shape == (N,)


def test_warm_start_goes_on_from_the_last_weights(client: Any) -> None:
    common: dict[str, Any] = {"algo": BSP, "max_iter": 2, "random_state": 5, "tol": None, "client": client}
    model = SGDClassifier("softmax", warm_start=True, **common).fit(rows(X), rows(LABELS))
    cold, first = clone(model).set_params(warm_start=False), weights_of(model).copy()
    once = cold.fit(rows(X), rows(LABELS)).coef_.copy()
    np.testing.assert_array_equal(cold.fit(rows(X), rows(LABELS)).coef_, once)  # refit
    model.fit(rows(X), rows(LABELS))
    start = np.column_stack([first.reshape(-1, 3).T[:, :-1], first.reshape(-1, 3).T[:, -1]])
    options: dict[str, Any] = {"loss": "softmax", "max_epochs": 2, "random_state": SEED, "init": start}
    result = dsgd.fit(rows(X), rows(LABELS), algo=BSP, cluster=client, **options)
    np.testing.assert_array_equal(weights_of(model), result.model.weights)


def test_clones_and_pickles(fitted: tuple[Any, Any], client: Any) -> None:
    model, _ = fitted
    twin = clone(model)
    assert twin.client is client
    assert not hasattr(twin, "n_iter_")
    mine, theirs = model.get_params(), twin.get_params()
    assert {name: str(value) for name, value in mine.items()} == {name: str(value) for name, value in theirs.items()}
    back = pickle.loads(pickle.dumps(model))
    assert back.client is None
    assert model.client is client
    np.testing.assert_array_equal(back.predict(X), model.predict(X))
    local = model.to_local()
    assert type(local).__module__.startswith("dsgd.estimators")
    assert b"dask" not in pickle.dumps(local)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(local)).predict(X), model.predict(X))


def test_a_local_estimator_trains_on(client: Any) -> None:
    model = SGDClassifier(max_iter=2, tol=None, client=client).fit(rows(X), rows(BINARY))
    local = model.to_local()
    before = model.coef_.copy()
    local.partial_fit(X, BINARY)
    np.testing.assert_array_equal(model.coef_, before)
    assert not np.allclose(local.coef_, before)


def test_names_of_columns_are_kept_and_compared(client: Any) -> None:
    frame = CHUNKS["frame"](X)
    model = SGDClassifier(max_iter=2, tol=None, algo=BSP, random_state=5, client=client).fit(frame, series(BINARY))
    assert list(model.feature_names_in_) == NAMES
    local = model.to_local()
    here = local.predict(pd.DataFrame(X, columns=NAMES))
    np.testing.assert_array_equal(model.predict(frame).compute(scheduler="synchronous"), here)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[NAMES[::-1]])
    model.fit(rows(X), rows(BINARY))
    assert not hasattr(model, "feature_names_in_")


def test_a_client_of_the_context_is_used(client: Any) -> None:
    with client.as_current():
        assert hasattr(SGDRegressor(max_iter=1, tol=None).fit(rows(X), rows(REAL)), "coef_")
    with pytest.raises(ConfigError, match="client="):
        SGDRegressor().fit(rows(X), rows(REAL))


def test_the_python_of_the_page_runs(client: Any) -> None:
    [block] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"here": client}
    with client.as_current():
        exec(block.replace('Client("tcp://scheduler:8786")', "here"), names)
    assert names["local"].predict(np.eye(20)).shape == (20,)


def test_what_cannot_be_is_refused(client: Any) -> None:
    with pytest.raises(ConfigError, match="dask array"):
        SGDClassifier(client=client).fit(X, BINARY)
    with pytest.raises(ConfigError, match="init"):
        KMeans(init=lambda *_: None, client=client).fit(rows(X))
    with pytest.raises(ValueError, match="learning_rate"):
        SGDClassifier(learning_rate="pa1", client=client).fit(rows(X), rows(BINARY))
    with pytest.raises(ConfigError, match="'sgd'"):
        SGDClassifier(algo="sgd", client=client).fit(rows(X), rows(BINARY))
    with pytest.raises(ValueError, match="not fitted"):
        SGDClassifier(client=client).predict(rows(X))
    model = SGDClassifier(max_iter=1, tol=None, client=client).fit(rows(X), rows(BINARY))
    with pytest.raises(ValueError, match="2 features"):
        model.predict(rows(X[:, :2]))
    with pytest.raises(DataError, match="y is missing"):
        model.score(rows(X))
    with pytest.raises(DataError, match=r"40.* 50 rows"):
        model.score(delayed(X), [*delayed(BINARY)[1:], dask.delayed(BINARY[:40])]).compute(scheduler="synchronous")
    with pytest.raises(DataError, match="no rows"):
        model.score([dask.delayed(X[:0])], [dask.delayed(BINARY[:0])]).compute(scheduler="synchronous")
    assert not hasattr(model, "partial_fit")
    assert not hasattr(model, "predict_proba")
