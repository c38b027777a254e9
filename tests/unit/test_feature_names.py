"""The names of features: kept by a result, in its file and in scikit-learn's estimators, and compared."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors
import scipy.sparse
from commands import run_command
from problems import make_problem

import dsgd
from dsgd.cluster import Trace
from dsgd.cluster.simulation.description import load_simulation
from dsgd.data import Dataset, load_csv, load_libsvm, save_libsvm
from dsgd.errors import ConfigError, DataError
from dsgd.losses import MLP, KMeans

_sparse, Y = make_problem(80, 4, seed=0)
X = _sparse.toarray() + 0.25
NAMES = ["height", "width", "depth", "age"]
FRAME = pd.DataFrame(X, columns=NAMES)
REVERSED = FRAME[NAMES[::-1]]
ORDER = "Feature names must be in the same order as they were in fit"


def train(data: Any, y: Any = Y, **options: Any) -> dsgd.FitResult:
    return dsgd.fit(data, y, **{"algo": "sgd", "max_epochs": 2, "random_state": 0, **options})


MODELS: list[Any] = [
    pytest.param({"loss": "logistic"}, id="linear"),
    pytest.param({"loss": "softmax"}, id="softmax"),
    pytest.param({"loss": "squared"}, id="regression"),
    pytest.param({"loss": KMeans(2)}, id="kmeans"),
    pytest.param({"loss": MLP((3,)), "algo": "minibatch"}, id="network"),
    pytest.param({"loss": "logistic", "algo": "ssp", "cluster": dsgd.Simulation(workers=2)}, id="cluster"),
]
METHODS: list[Any] = [
    pytest.param(lambda result, data: result.predict(data), id="predict"),
    pytest.param(lambda result, data: result.decision_function(data), id="decision_function"),
    pytest.param(lambda result, data: result.predict_proba(data), id="predict_proba"),
    pytest.param(lambda result, data: result.score(data, Y), id="score"),
    pytest.param(lambda _, data: train(FRAME, loss="logistic", eval_set=(data, Y)), id="eval_set"),
]


@pytest.mark.parametrize("options", MODELS)
def test_a_result_keeps_the_names_of_columns_in_its_file_too(options: dict[str, Any], tmp_path: Path) -> None:
    result = train(FRAME, **options)
    result.save(tmp_path / "model")
    for same in (result, dsgd.load(tmp_path / "model")):
        assert same.n_features_in_ == 4
        assert same.feature_names_in_.tolist() == NAMES
        assert same.feature_names_in_.dtype == object
        assert same.feature_names == result.feature_names
        assert (same.predict(FRAME) == result.predict(FRAME)).all()
        with pytest.raises(DataError, match=ORDER):
            same.predict(REVERSED)


@pytest.mark.parametrize("options", [options for options in MODELS if options.id != "network"])
def test_an_estimator_of_a_result_has_its_names(options: dict[str, Any]) -> None:
    estimator = train(FRAME, **options).to_sklearn()
    assert estimator.feature_names_in_.tolist() == NAMES
    with pytest.raises(ValueError, match=ORDER):
        estimator.predict(REVERSED)
    assert not hasattr(train(X, **options).to_sklearn(), "feature_names_in_")


@pytest.mark.parametrize("data", [X, pd.DataFrame(X), X.tolist(), Dataset(X=X, y=Y)])
def test_data_without_names_gives_none(data: Any, tmp_path: Path) -> None:
    result = dsgd.fit(data, None if isinstance(data, Dataset) else Y, algo="sgd", max_epochs=1)
    result.save(tmp_path / "model")
    for same in (result, dsgd.load(tmp_path / "model")):
        assert not hasattr(same, "feature_names_in_")
        assert same.n_features_in_ == 4


@pytest.mark.parametrize("method", METHODS)
def test_other_names_or_another_order_are_refused(method: Callable[..., Any]) -> None:
    result = train(FRAME, loss="logistic")
    with pytest.raises(DataError, match=ORDER):
        method(result, REVERSED)
    renamed = FRAME.rename(columns={"age": "years"})
    message = r"unseen at fit time:\n- years\nFeature names seen at fit time, yet now missing:\n- age$"
    with pytest.raises(DataError, match=message):
        method(result, renamed)
    with pytest.raises(DataError, match=r"yet now missing:\n- age$"):
        method(result, FRAME[NAMES[:3]])
    method(result, FRAME.copy())


@pytest.mark.parametrize("method", METHODS)
def test_a_warning_says_where_only_one_side_has_names(method: Callable[..., Any]) -> None:
    result = train(FRAME, loss="logistic")
    with pytest.warns(
        UserWarning, match="X does not have valid feature names, but FitResult was fitted with"
    ) as caught:
        method(result, X)
    assert caught[0].filename == __file__


def test_a_warning_says_where_only_the_new_data_has_names() -> None:
    result = train(X, loss="logistic")
    for call in (result.predict, result.decision_function, result.predict_proba):
        with pytest.warns(UserWarning, match="X has feature names, but FitResult was fitted without feature names"):
            call(FRAME)
    with pytest.warns(UserWarning, match="X has feature names"):
        train(X, eval_set=(FRAME, Y))


def test_names_of_several_types_are_refused_as_by_scikit_learn() -> None:
    mixed = pd.DataFrame(X, columns=["height", "width", 2, 3])
    with pytest.raises(DataError, match=r"your input has \['int', 'str'\] as feature name"):
        train(mixed)


def test_a_table_brings_its_names(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b,kind\n1,20,x\n2,10,y\n1.5,19,x\n2.5,12,y\n")
    data = load_csv(path, target="kind")
    data.save(tmp_path / "cache")
    for source in (data, tmp_path / "cache"):
        result = dsgd.fit(source, algo="sgd", max_epochs=3, random_state=0)
        assert result.feature_names_in_.tolist() == ["a", "b"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert result.predict(data.X).tolist() == result.predict(data).tolist()  # the X of a data set has no names
            assert result.score(data) == result.score(data.X, data.y)
        with pytest.raises(DataError, match=ORDER):
            result.predict(pd.DataFrame(data.X[:, ::-1], columns=["b", "a"]))
    path.write_text("b,a,kind\n20,1,x\n10,2,y\n")
    turned = load_csv(path, target="kind")
    with pytest.raises(DataError, match=ORDER):
        result.score(turned)
    with pytest.raises(DataError, match=f"eval_set: (.|\n)*{ORDER}"):
        dsgd.fit(data, algo="sgd", eval_set=turned)


def test_a_data_set_of_a_frame_has_the_names_of_its_columns() -> None:
    assert Dataset(X=FRAME, y=Y).feature_names == tuple(NAMES)
    assert Dataset(X=FRAME, y=Y, feature_names=tuple("abcd")).feature_names == tuple("abcd")
    assert Dataset(X=pd.DataFrame(X), y=Y).feature_names is None


def test_a_data_set_is_scored_on_its_own_targets_and_numbering(tmp_path: Path) -> None:
    save_libsvm(tmp_path / "zero.svm", X, Y, index_base="zero")
    result = dsgd.fit(tmp_path / "zero.svm", algo="sgd", max_epochs=2, random_state=0)
    assert result.score(Dataset(X=X, y=Y)) == result.score(*load_libsvm(tmp_path / "zero.svm"))
    with pytest.raises(ConfigError, match="y must be left out"):
        result.score(Dataset(X=X, y=Y), Y)
    with pytest.raises(DataError, match="the first feature is called zero by the training data and one by X"):
        result.predict(Dataset(X=X, y=Y, index_base="one"))


def test_the_command_line_compares_names(tmp_path: Path) -> None:
    Dataset(X=FRAME, y=Y).save(tmp_path / "train.cache")
    Dataset(X=REVERSED, y=Y).save(tmp_path / "turned.cache")
    save_libsvm(tmp_path / "rows.svm", X, Y)
    run = run_command("fit", "train.cache", "--test", "train.cache", "--model", "m", "--quiet", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    for words in (("fit", "train.cache", "--test", "turned.cache"), ("predict", "m", "turned.cache")):
        run = run_command(*words, cwd=tmp_path)
        assert run.returncode == 2
        assert ORDER in run.stderr
    for data in ("train.cache", "rows.svm"):
        run = run_command("predict", "m", data, cwd=tmp_path)
        assert (run.returncode, run.stderr.count("\n")) == (0, 1), run.stderr


class Table:
    """A frame of another library: columns that have names, and an array."""

    def __init__(self, names: Any, attribute: str) -> None:
        setattr(self, attribute, names)
        self.columns = getattr(self, "columns", [[0.0], [1.0]])  # of pyarrow: the values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return X


@pytest.mark.parametrize("attribute", ["columns", "column_names"])
def test_frames_of_other_libraries_have_names(attribute: str) -> None:
    result = train(Table(NAMES, attribute))
    assert result.feature_names_in_.tolist() == NAMES
    with pytest.raises(DataError, match=ORDER):
        result.predict(Table(NAMES[::-1], attribute))


def test_long_texts_do_not_cost_a_model(tmp_path: Path) -> None:
    """safetensors reads headers of up to 100 MB; here all of them are small."""
    names = tuple(f"{number} {'x' * 60}" for number in range(30_000))
    matrix = scipy.sparse.random(20, 30_000, 0.01, format="csr", random_state=0)
    y = np.arange(20) % 2
    result = dsgd.fit(Dataset(X=matrix, y=y, feature_names=names), algo="sgd", max_epochs=1, random_state=0)
    for epoch in range(2, 20_000):
        result.history.append(replace(result.history[0], epoch=epoch))
    result.save(tmp_path / "model")
    with safetensors.safe_open(tmp_path / "model", framework="numpy") as file:
        assert {"text/history", "text/feature_names"} <= set(file.keys())
        assert set(file.metadata()) == {"dsgd"}
    loaded = dsgd.load(tmp_path / "model")
    assert loaded.feature_names == result.feature_names
    assert loaded.history == result.history


def test_what_is_read_is_given_by_any_kind_of_path(tmp_path: Path) -> None:
    options: Any = {"algo": "ssp", "loss": "logistic", "cluster": dsgd.Simulation(workers=2)}
    result = train(X, **options)
    assert result.trace is not None
    (tmp_path / "cluster.toml").write_text("workers = 3\n")
    for kind in (str, os.fsencode, Path):
        paths: Any = [kind(tmp_path / name) for name in ("model", "trace", "cluster.toml")]
        result.save(paths[0])
        result.trace.save(paths[1])
        assert dsgd.load(paths[0]).history == result.history
        assert len(Trace.load(paths[1])) == len(result.trace)
        assert load_simulation(paths[2]).workers == 3
