"""Targets of a regression that would be trained as classes are told of; many classes are trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_command
from sklearn.datasets import load_diabetes

import dsgd
from dsgd.data import save_libsvm
from dsgd.errors import DataError
from dsgd.losses import MLP

X, Y = load_diabetes(return_X_y=True)  # 214 different whole numbers in 442 rows
WARNING = r"y has 214 classes in 442 rows; y could represent a regression problem, not a classification problem"
WORDS = np.array([f"word{i}" for i in np.arange(40) % 25])


def fit(y: Any, **options: Any) -> dsgd.FitResult:
    rows = X[: len(y)]
    return dsgd.fit(rows, y, **{"algo": "sgd", "max_epochs": 1, "step_size": 0.1, "random_state": 0, **options})


@pytest.mark.parametrize("y", [Y, Y.astype(np.int32), Y.astype(object), Y.astype(np.float32), Y[:, None], -Y])
@pytest.mark.parametrize(
    "options", [{"loss": "hinge"}, {"loss": "softmax"}, {"loss": MLP((2,)), "algo": "minibatch"}, {"algo": "sdca"}]
)
def test_whole_numbers_that_look_like_a_regression_warn(y: Any, options: dict[str, Any]) -> None:
    if options.get("algo") == "sdca":
        options = {**options, "step_size": "auto"}
    with pytest.warns(UserWarning, match=WARNING) as caught:
        result = fit(y, **options)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert result.classes_ is not None
    assert len(result.classes_) == 214


@pytest.mark.parametrize("estimator", [dsgd.SGDClassifier(max_iter=2, tol=None), dsgd.MLPClassifier((2,), max_iter=2)])
def test_estimators_warn_too(estimator: Any) -> None:
    with pytest.warns(UserWarning, match=WARNING) as caught:
        estimator.fit(X, Y)
    assert len(caught) == 1


@pytest.mark.parametrize(
    "train",
    [
        fit,
        lambda y: dsgd.SGDClassifier(max_iter=2, tol=None).fit(X[:40], y),
        lambda y: dsgd.MLPClassifier((5,), max_iter=2).fit(X[:40], y),
    ],
)
@pytest.mark.parametrize("y", [WORDS, np.arange(40) % 25])
def test_many_classes_in_few_rows_are_trained_with_a_warning(train: Callable[[Any], Any], y: Any) -> None:
    with pytest.warns(UserWarning, match="25 classes in 40 rows|number of unique classes is greater"):
        model = train(y)
    assert len(model.classes_) == 25


@pytest.mark.parametrize(
    "y", [np.arange(400) % 20, np.arange(400) % 40, np.array([f"w{i}" for i in np.arange(400) % 200])]
)
def test_classes_of_enough_rows_are_trained_in_silence(y: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(y)
        fit(np.linspace(0, 1, 400), loss="squared")


def test_a_class_for_every_row_is_refused() -> None:
    with pytest.raises(DataError, match="y has 60 different labels in 60 rows"):
        fit(np.arange(60))


def test_the_command_line_warns_in_one_line(tmp_path: Path) -> None:
    save_libsvm(tmp_path / "train.svm", X, Y)
    done = run_command("fit", "train.svm", "--max-epochs", 1, "--step-size", 0.1, "--quiet", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith("dsgd: warning: y has 214 classes in 442 rows; y could represent a regression")
    assert done.stderr.count("\n") == 1
