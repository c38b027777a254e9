from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd.history import History, Record
from dsgd.stopping import Stopping

X, Y = make_problem(300, 40, seed=0)


def history(objectives: list[float | None], scores: list[float | None] | None = None) -> History:
    return History(
        Record(epoch=k + 1, effective_passes=k + 1, seconds=k, step_size=1, objective=objective, score=score)
        for k, (objective, score) in enumerate(zip(objectives, scores or [None] * len(objectives), strict=True))
    )


@pytest.mark.parametrize(
    ("objectives", "stops"),
    [
        ([1.0, 0.5, 0.5], False),  # three evaluations cannot show two without improvement after a first two
        ([1.0, 0.5, 0.5, 0.5], True),
        ([1.0, 0.5, 0.6, 0.7], True),
        ([1.0, 0.5, 0.6, 0.4], False),
        ([1.0, 0.5, 0.499, 0.498], True),  # improved by 0.4 %, less than 1 %
        ([1.0, 0.5, 0.49, 0.48], False),
        ([1.0, 0.5, None, 0.5, 0.5], True),
        ([1.0, 0.5, 0.5, 0.5, None], False),  # nothing new to judge by
        ([-1.0, -2.0, -2.0, -2.0], True),
    ],
)
def test_tol(objectives: list[float | None], stops: bool) -> None:
    rule = Stopping(tol=0.01, patience=2)
    assert rule.reason(history(objectives), 0) == ("tol" if stops else None)


@pytest.mark.parametrize(
    ("scores", "stops", "best"),
    [
        ([0.5, 0.6, 0.6], False, False),
        ([0.5, 0.6, 0.6, 0.5], True, False),
        ([0.5, 0.6, 0.5, 0.61], False, True),
        ([0.5, 0.6, None, 0.6, 0.6], True, False),
        ([0.5], False, True),
    ],
)
def test_early_stopping(scores: list[float | None], stops: bool, best: bool) -> None:
    rule = Stopping(early_stopping=True, patience=2)
    past = history([None] * len(scores), scores)
    assert rule.reason(past, 0) == ("early_stopping" if stops else None)
    assert rule.is_best(past) == best


def test_max_seconds() -> None:
    assert Stopping(max_seconds=2.0).reason(history([1.0]), 1.9) is None
    assert Stopping(max_seconds=2.0).reason(history([1.0]), 2.0) == "max_seconds"


def fit(**settings: Any) -> dsgd.FitResult:
    return dsgd.fit(X, Y, **{"algo": "sgd", "step_size": 0.2, "random_state": 0, "max_epochs": 200, **settings})


def test_a_fit_stops_and_says_why() -> None:
    assert fit().stop_reason == "max_epochs"
    assert len(fit().history) == 200
    by_tol = fit(tol=1e-3, schedule="epoch-decay")
    assert by_tol.stop_reason == "tol"
    assert 6 <= len(by_tol.history) < 100
    lengths = [
        len(fit(schedule="epoch-decay", **rule).history) for rule in ({"tol": 1e-3, "patience": 1}, {"tol": 1e-9})
    ]
    assert lengths[0] < len(by_tol.history) < lengths[1]
    by_time = fit(max_seconds=1e-9)
    assert by_time.stop_reason == "max_seconds"
    assert len(by_time.history) == 1


def test_callbacks_see_every_epoch_and_may_stop() -> None:
    seen: list[tuple[Record, float]] = []

    def look(record: Record, model: dsgd.LinearModel) -> None:
        seen.append((record, float(np.abs(model.weights).sum())))

    def third(record: Record, model: dsgd.LinearModel) -> bool:
        return record.epoch == 3

    result = fit(callbacks=[third, look])
    assert result.stop_reason == "callback"
    assert [record for record, _ in seen] == list(result.history)
    assert [record.epoch for record, _ in seen] == [1, 2, 3]
    assert seen[-1][1] == np.abs(result.model.weights).sum()
    assert len({size for _, size in seen}) == 3


def test_early_stopping_returns_the_best_model() -> None:
    result = fit(loss="logistic", eval_set=(X[:60], Y[:60]), early_stopping=True, patience=3, schedule="constant")
    assert result.stop_reason == "early_stopping"
    scores = [record.score for record in result.history if record.score is not None]
    assert len(scores) < 200
    assert result.score(X[:60], Y[:60]) == max(scores)
    best = int(np.argmax(scores)) + 1
    again = fit(loss="logistic", max_epochs=best, schedule="constant")
    assert (result.coef_ == again.coef_).all()
