"""Scores on rows that the driver of `dsgd.Hosts` has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_threads import fit_on_threads
from problems import make_problem

import dsgd
from dsgd.data import Dataset, save_libsvm
from dsgd.errors import DataError
from dsgd.fitting.worker_rows import WorkerRows

X, Y = make_problem(60, 8, seed=4)
OPTIONS: dict[str, Any] = {"algo": "ssp", "staleness": 0, "loss": "logistic", "step_size": 0.1, "max_epochs": 2}


def fit(**options: Any) -> dsgd.FitResult:
    """Train on the rows, half of them each on two workers."""
    rows = [WorkerRows(X[part], Y[part], None) for part in (slice(0, 30), slice(30, 60))]
    result: dsgd.FitResult = fit_on_threads(rows, [{"index_base": "one"}] * 2, random_state=0, **OPTIONS, **options)[0]
    return result


def test_a_data_set_is_scored_as_its_arrays_are() -> None:
    scores = [fit(eval_set=each).history[-1].score for each in ((X, Y), Dataset(X=X, y=Y))]
    assert scores[0] == scores[1] is not None


def test_a_file_to_score_on_may_lack_the_last_features(tmp_path: Path) -> None:
    few = np.flatnonzero(X[:, [-1]].toarray()[:, 0] == 0)
    save_libsvm(tmp_path / "test.svm", X[few], Y[few])
    data = dsgd.data.load(tmp_path / "test.svm")
    assert data.X.shape[1] < X.shape[1]
    assert fit(eval_set=data).history[-1].score is not None


def test_a_file_that_counts_features_otherwise_is_refused() -> None:
    with pytest.raises(DataError, match="first feature"):
        fit(eval_set=Dataset(X=X, y=Y, index_base="zero"))
