from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd.fitting.stopping import Standstill, Stopping
from dsgd.results.history import History, Record
from dsgd.schedules import Adaptive

X, Y = make_problem(300, 40, seed=0)


def history(
    objectives: list[float | None], scores: list[float | None] | None = None, losses: list[float | None] | None = None
) -> History:
    none = [None] * len(objectives)
    return History(
        Record(epoch=k + 1, effective_passes=k + 1, seconds=k, step_size=1, objective=value, score=score, loss=loss)
        for k, (value, score, loss) in enumerate(zip(objectives, scores or none, losses or none, strict=True))
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
    assert [record for record, _ in seen[:-1]] == list(result.history[:-1])
    assert [seen[-1][0].exact, result.history[-1].exact] == [False, True]  # nobody knew that it would be the last
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


@pytest.mark.parametrize(
    ("objectives", "stops_after"),
    [
        ([1.0, 0.9, 0.88, 0.8, 0.7], 3),  # by less than 0.15 twice in a row, though it falls
        ([1.0, 0.8, 0.6, 0.4, 0.2], None),
        ([1.0, 0.95, 0.7, 0.65, 0.5], None),  # progress in between
        ([1.0, 2.0, 0.9, 0.5, 0.4], 3),  # against the best, not the last
        ([1.0, None, 1.0, 1.0, 1.0], 4),
    ],
)
@pytest.mark.parametrize("on_score", [False, True])
def test_a_standstill_is_epochs_that_are_not_better_than_the_best_by_tol(
    objectives: list[float | None], stops_after: int | None, on_score: bool
) -> None:
    rule = Standstill(tol=0.15, patience=2, on_score=on_score)
    scores = [None if value is None else -value for value in objectives]
    whole = history([0.0] * 5, scores) if on_score else history([0.0] * 5, losses=objectives)
    reasons = [rule.reason(whole[: k + 1], 0) for k in range(5)]
    name = "early_stopping" if on_score else "tol"
    first = next((k + 1 for k, reason in enumerate(reasons) if reason == name), None)
    assert first == stops_after


def test_a_standstill_is_waited_for_anew_after_an_answer() -> None:
    rule = Standstill(tol=0.1, patience=2, on_score=False)
    flat = history([1.0, 0.8, 0.6, 0.4, 0.2, 0.0], losses=[1.0] * 6)  # the penalty has no say
    assert [rule.reason(flat[: k + 1], 0, since=0 if k < 3 else 3) for k in range(6)] == [
        None, None, "tol", None, "tol", "tol",
    ]  # fmt: skip
    assert Standstill(tol=None, patience=1, on_score=False).reason(flat, 0) is None


def test_adaptive_steps_are_cut_where_a_fit_would_end() -> None:
    settings: dict[str, Any] = {
        "algo": "sgd",
        "loss": "logistic",
        "step_size": 1.0,
        "max_epochs": 60,
        "random_state": 0,
    }
    settings |= {"tol": 1e-3, "patience": 2}
    constant = dsgd.fit(X, Y, schedule="constant", **settings)
    adaptive = dsgd.fit(X, Y, schedule=Adaptive(factor=0.5, least=0.3), **settings)
    steps = [record.step_size for record in adaptive.history]
    assert sorted(set(steps), reverse=True) == [1.0, 0.5, 0.25]
    assert steps.index(0.5) == len(constant.history)
    assert (constant.stop_reason, adaptive.stop_reason) == ("tol", "tol")
    assert min(steps.count(step) for step in (0.5, 0.25)) >= 3
    unlimited = dsgd.fit(X, Y, schedule="adaptive", **{**settings, "tol": None})
    assert len(unlimited.history) == 60
    assert {record.step_size for record in unlimited.history} == {1.0}
