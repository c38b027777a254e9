"""What a result and its file refuse, with the message that names the value and the cure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from problems import make_problem
from safetensors import safe_open
from safetensors.numpy import save_file

import dsgd
from dsgd.errors import ConfigError, DataError

X, Y = make_problem(60, 12, seed=0)
DENSE = X.toarray()
WORDS = np.where(Y > 0, "spam", "ham")
NAN = DENSE.copy()
NAN[3, 7] = np.nan


def fit(**changes: Any) -> dsgd.FitResult:
    return dsgd.fit(X, Y, **{"algo": "hogwild", "n_threads": 1, "max_epochs": 2, **changes})


def call(name: str, error: type[Exception], message: str, function: Callable[[], object]) -> Any:
    return pytest.param(function, error, message, id=name)


RESULT = fit(loss="logistic")
REGRESSION = fit(loss="squared", init=np.full(13, 10.0), step_size=1e-12)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        call("other features", DataError, "X has 11 features; .* on 12", lambda: RESULT.predict(X[:, :11])),
        call("nan to predict", DataError, r"X\[3, 7\] is nan", lambda: RESULT.predict(NAN)),
        call("nothing to predict", DataError, "must not be empty", lambda: RESULT.predict(X[:0])),
        call("one row as a vector", DataError, "two dimensions", lambda: RESULT.decision_function(DENSE[0])),
        call("None to predict", DataError, "of type NoneType", lambda: RESULT.predict(None)),
        call("no threads", ConfigError, "n_threads must be", lambda: RESULT.predict(X, n_threads=0)),
        call("too few labels", DataError, r"y has shape \(59,\)", lambda: RESULT.score(X, Y[1:])),
        call("words to score", DataError, "y has dtype <U4; the classes are", lambda: RESULT.score(X, WORDS)),
        call("words to score a regression", DataError, "dtype <U4", lambda: REGRESSION.score(X, WORDS)),
        call("R2 of one row", DataError, "R2 needs at least two rows", lambda: REGRESSION.score(X[:1], Y[:1])),
        call(
            "R2 of infinite predictions",
            DataError,
            r"the prediction of row 0 is not finite: scale the data",
            lambda: REGRESSION.score(np.full((2, 12), 1e308), [0, 1]),
        ),
        call("probabilities of the hinge", ConfigError, "'hinge' has no probabilities", lambda: fit().predict_proba(X)),
        call("saving into nothing", FileNotFoundError, "none", lambda: RESULT.save("/proc/none/model")),
        call("saving onto a directory", OSError, "is not a regular file", lambda: RESULT.save(Path(__file__).parent)),
        call("loading a directory", DataError, "is not a regular file", lambda: dsgd.load(Path(__file__).parent)),
        call("loading nothing", FileNotFoundError, "none", lambda: dsgd.load("/proc/none")),
        call("loading another file", DataError, "is not a model of dsgd", lambda: dsgd.load(__file__)),
    ],
)
def test_a_result_refuses(function: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        function()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": {"dtype": "<U100000000", "values": ["a", "b"]}}, "its classes have dtype <U100000000"),
        ({"classes": {"dtype": "<f8", "values": [0, 1, 2]}}, "those of 1 problems; loss and classes make 3"),
        ({"classes": {"dtype": "<f8", "values": []}}, r"its classes are \[\]"),
        ({"history": '[{"epoch": "x"}]'}, "not a history of dsgd"),
        (
            {"history": json.dumps([{"epoch": 1, "effective_passes": 1, "seconds": "x", "step_size": 1}])},
            "seconds is 'x'",
        ),
        ({"history": '[{"epoch": 1, "effective_passes": 1, "seconds": NaN, "step_size": 1}]'}, "seconds is nan"),
        ({"history": "[" * 100_000}, "not a history of dsgd"),
    ],
    ids=str,
)
def test_a_file_that_no_save_wrote_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    RESULT.save(tmp_path / "model")
    with safe_open(tmp_path / "model", framework="numpy") as file:
        weights, metadata = file.get_tensor("weights"), file.metadata()
    history = change.pop("history", metadata["history"])
    description = {**json.loads(metadata["dsgd"]), **change}
    save_file({"weights": weights}, tmp_path / "model", {"dsgd": json.dumps(description), "history": history})
    with pytest.raises(DataError, match=f"is not a model of dsgd: .*{message}"):
        dsgd.load(tmp_path / "model")
