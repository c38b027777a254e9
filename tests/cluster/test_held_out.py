"""Algorithms whose workers tell their objectives: on a sample of their own rows, and on rows held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd

X, Y = make_problem(240, 20, seed=3)
HELD_OUT, LABELS = make_problem(60, 20, seed=4)


def train(algo: str, **options: Any) -> dsgd.FitResult:
    given: dict[str, Any] = {"loss": "logistic", "alpha": 1e-2, "max_epochs": 4, "random_state": 3, "step_size": 0.1}
    cluster = dsgd.Simulation(workers=3, speeds=[1, 0.5, 0.25])
    return dsgd.fit(X, Y, **{"algo": algo, "cluster": cluster, "eval_set": (HELD_OUT, LABELS), **given, **options})


def objective(weights: Any, labels: Any = LABELS, loss: str = "logistic") -> float:
    """Return the mean loss on the rows held out, with the penalty, by numpy."""
    margins = labels * (HELD_OUT @ weights[:-1] + weights[-1])
    losses = np.logaddexp(0, -margins) if loss == "logistic" else np.maximum(0, 1 - margins)
    return float(losses.mean() + 1e-2 / 2 * weights[:-1] @ weights[:-1])


@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_every_peer_has_a_curve_on_the_rows_held_out(loss: str) -> None:
    result = train("p2p", loss=loss)
    for record in result.history[:-1]:
        assert record.counts is not None
        assert len(set(record.counts["held_out"])) == 3  # peers differ until the end
    last = result.history[-1].counts
    assert last is not None
    at_the_end = objective(result.model.weights[0], loss=loss)
    assert last["held_out"] == pytest.approx((at_the_end,) * 3, rel=1e-12)


def test_all_workers_of_sync_have_the_same_curve_held_out_and_others_on_their_rows() -> None:
    result = train("sync", stop_change=0.0, check_every=1)
    told = [record.counts for record in result.history if record.counts is not None]
    assert told
    for counts in told:
        coordinator, *workers = counts["held_out"]
        assert coordinator is None
        assert len(set(workers)) == 1
        assert len(set(counts["objective"][1:])) == 3
    assert told[-1]["held_out"][1] == pytest.approx(objective(result.model.weights[0]), rel=0.05)


def test_labels_that_the_training_data_lacks_are_left_out() -> None:
    names = np.where(LABELS > 0, "yes", "no").astype("U7")
    names[:10] = "perhaps"
    result = dsgd.fit(
        X,
        np.where(Y > 0, "yes", "no"),
        algo="p2p",
        cluster=dsgd.Simulation(workers=2),
        loss="logistic",
        alpha=1e-2,
        max_epochs=2,
        eval_set=(HELD_OUT, names),
    )
    counts, weights = result.history[-1].counts, result.model.weights[0]
    assert counts is not None
    margins = LABELS[10:] * (HELD_OUT[10:] @ weights[:-1] + weights[-1])
    expected = np.logaddexp(0, -margins).mean() + 1e-2 / 2 * weights[:-1] @ weights[:-1]
    assert counts["held_out"] == pytest.approx((expected,) * 2, rel=1e-12)


def test_there_is_no_curve_without_rows_held_out_or_without_evaluations() -> None:
    for options in ({"eval_set": None}, {"evaluate_every": 0}):
        for record in train("p2p", **options).history:
            assert record.counts is not None
            assert "held_out" not in record.counts
