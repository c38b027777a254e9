from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from problems import make_problem

import dsgd
from dsgd import _core
from dsgd.algorithms import Hogwild
from dsgd.data.inputs import as_matrix
from dsgd.errors import ConfigError
from dsgd.problems.memory_layout import InPlace, MemoryLayout, Renumbered
from dsgd.problems.task import EpochEnd, LocalTask

X, Y = make_problem(6000, 40, seed=3)
TEXT, LABELS = dsgd.data.make_text_classification(3000, n_features=5000, random_state=0)


def fit(X: Any = X, y: Any = Y, **changes: Any) -> dsgd.FitResult:
    settings: dict[str, Any] = {"algo": "hogwild", "loss": "logistic", "random_state": 0, "alpha": 0.01}
    return dsgd.fit(X, y, **{**settings, **changes})


def chosen(X: Any, max_epochs: int = 10, n_threads: int = 2, **options: Any) -> tuple[type[MemoryLayout], int]:
    """Return the layout and the visits between two merges that a fit uses."""
    seen = []

    class Watched(Hogwild):
        def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
            layout = self._layout(task)
            seen.append((type(layout), self._merge_visits(task, layout)))
            yield from ()

    y = np.arange(X.shape[0]) % 2
    dsgd.fit(X, y, algo=Watched(**options), n_threads=n_threads, step_size=1.0, max_epochs=max_epochs)
    return seen[-1]


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("sparse", [True, False])
def test_copies_that_are_merged_train_as_well_as_shared_weights(threads: int, sparse: bool) -> None:
    data = X if sparse else X.toarray()
    one = fit(data, n_threads=1).history[-1].objective
    for merge_every in (0, 1, 100, None):
        result = fit(data, n_threads=threads, merge_every=merge_every)
        assert result.history[-1].objective == pytest.approx(one, rel=2e-3), merge_every
    for layout in ("inplace", "renumbered") if sparse else ("inplace",):
        result = fit(data, n_threads=threads, layout=layout)
        assert result.history[-1].objective == pytest.approx(one, rel=2e-3), layout


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic", "modified_huber", "squared", "huber"])
@pytest.mark.parametrize("merge_every", [0, 2])
def test_every_loss_ends_near_the_objective_of_one_thread(loss: str, merge_every: int) -> None:
    settings: dict[str, Any] = {"loss": loss, "step_size": 0.02, "max_epochs": 15, "alpha": 1e-3, "evaluate_every": 15}
    one = fit(n_threads=1, **settings).history[-1].objective
    for n_threads in (2, 3):
        # At most 0.002 in 20 runs of each on a busy machine.
        two = fit(n_threads=n_threads, merge_every=merge_every, **settings).history[-1].objective
        assert two == pytest.approx(one, rel=0.005), n_threads


def test_what_the_defaults_choose() -> None:
    assert chosen(X) == (InPlace, 2)  # few features: all can be merged at once
    assert chosen(X, layout="renumbered") == (Renumbered, 2)
    assert chosen(X, merge_every=7) == (InPlace, 7)
    assert chosen(TEXT) == (Renumbered, 2)
    assert chosen(TEXT, merge_every=7) == (Renumbered, 7)
    assert chosen(TEXT, max_epochs=3) == (InPlace, 0)  # a copy of the indices would not be earned back
    assert chosen(TEXT, layout="inplace") == (InPlace, 0)  # every merge would take in all weights
    assert chosen(X.toarray()) == (InPlace, 2)
    assert chosen(scipy.sparse.eye_array(6000, 6000, format="csr")) == (InPlace, 0)  # hardly a weight is shared
    for data in (X, TEXT):
        for alone in ({"merge_every": 0}, {"n_threads": 1}, {"write": "atomic"}, {"order": "round-robin"}):
            assert chosen(data, **alone) == (InPlace, 0)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("init", [None, "warm"])
def test_renumbered_features_give_the_same_bits_on_one_thread(index: Any, init: str | None) -> None:
    wide = TEXT.copy()
    wide.indptr, wide.indices = TEXT.indptr.astype(index), TEXT.indices.astype(index)
    start = None if init is None else np.linspace(-1, 1, 5001)
    settings: dict[str, Any] = {"n_threads": 1, "init": start, "max_epochs": 3}
    expected = fit(wide, LABELS, layout="inplace", **settings)
    result = fit(wide, LABELS, layout="renumbered", **settings)
    assert (result.coef_ == expected.coef_).all()
    assert result.intercept_ == expected.intercept_
    assert [record.objective for record in result.history] == [record.objective for record in expected.history]


def test_renumbering_puts_frequent_features_first_and_shares_the_values() -> None:
    tasks = []

    class Watched(Hogwild):
        def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
            tasks.append(task)
            return super().epochs(task)

    fit(TEXT, LABELS, algo=Watched(), n_threads=1, step_size=1.0, max_epochs=1)
    order = tasks[0].linear.frequency_order()
    counts = np.bincount(TEXT.indices, minlength=5000)[order].clip(min=1)
    assert sorted(order) == list(range(5000))
    assert (counts[1:] <= counts[:-1] * 1.13).all()
    before = tasks[0].weights.copy()
    layout = Renumbered(tasks[0])
    layout.fetch()
    layout.weights += np.append(order, 7)
    layout.publish()
    assert tasks[0].weights - before == pytest.approx(np.append(np.arange(5000), 7), abs=1e-3)


def test_the_core_refuses_an_order_that_is_none() -> None:
    matrix = as_matrix(X, 1)
    for order in (range(39), range(1, 41), [0] * 40, [-1, *range(1, 40)]):
        with pytest.raises(ConfigError, match="order must name every feature once"):
            matrix.renumbered(np.array(order, np.int64), 1)


def test_several_classes_on_renumbered_features() -> None:
    y = LABELS + (TEXT[:, :50].sum(axis=1) > TEXT[:, :50].sum(axis=1).mean())
    settings: dict[str, Any] = {"n_threads": 2, "max_epochs": 8, "alpha": 1e-4}
    objectives = [fit(TEXT, y, layout=layout, **settings).history[-1].objective for layout in ("inplace", "renumbered")]
    assert objectives[1] == pytest.approx(objectives[0], rel=0.02)


def test_delay_is_recorded_where_it_is_asked_for() -> None:
    result = fit(n_threads=2, record_delay=True, max_epochs=3)
    for epoch, record in enumerate(result.history, 1):
        assert record.delay is not None
        assert sum(record.delay) == 6000 * epoch
    assert fit(n_threads=1, record_delay=True, max_epochs=2).history[-1].delay == (12000,)
    assert all(record.delay is None for record in fit(n_threads=2, max_epochs=2).history)
    assert dsgd.History.from_json(result.history.to_json()) == result.history
    assert "delay" in result.history.to_frame()


def test_in_turn_an_update_is_overtaken_once_by_each_other_thread_at_most() -> None:
    for threads in (2, 3):
        result = fit(X[:3000], Y[:3000], order="round-robin", n_threads=threads, record_delay=True, max_epochs=3)
        assert result.history[-1].delay is not None
        assert len(result.history[-1].delay) == threads  # some are: the others compute meanwhile
        assert result.history[-1].delay[threads - 1] > 0


WRITES: list[dict[str, Any]] = [
    {},
    {"merge_visits": 2},
    {"write": "atomic"},
    {"write": "locked"},
    {"write": "in-turn"},
]


def mean_loss(n_threads: int, *, sum_loss: bool = True, dense: bool = False, **options: Any) -> float:
    """Return what the third epoch says of the losses of its samples; that of `sgd` for no thread."""
    weights, schedule = np.zeros(41), _core.Schedule(step_size=0.1)
    objective = _core.LinearObjective(
        as_matrix(X.toarray() if dense else X, 1), Y, np.linspace(0, 2, 6000), loss=_core.Loss("logistic", 0.0),
        alpha_l1=0.001, alpha_l2=0.01, fit_intercept=True, n_threads=1,
    )  # fmt: skip
    solver = _core.Hogwild(objective, n_threads=max(n_threads, 1), sum_loss=sum_loss, **{"write": "racy", **options})
    loss = 0.0
    for index in range(3):
        epoch = _core.Epoch(index=index, schedule=schedule, block_size=8, seed=7)
        loss = solver.epoch(weights, epoch) if n_threads else _core.sgd_epoch(objective, weights, epoch, sum_loss=True)
    return loss


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("options", WRITES, ids=str)
def test_the_losses_of_an_epoch_are_those_of_sgd_on_one_thread_and_like_them_on_several(
    options: dict[str, Any], dense: bool
) -> None:
    expected = mean_loss(0, dense=dense)
    assert mean_loss(1, dense=dense, **options) == expected
    for n_threads in (2, 3):
        # At most 0.024 in 60 runs of each on a busy machine; without one thread's part it would be 0.3 or more.
        assert mean_loss(n_threads, dense=dense, **options) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_losses_that_nobody_asked_for_are_not_summed(n_threads: int) -> None:
    assert mean_loss(n_threads, sum_loss=False) == 0
    losses = []

    class Watched(Hogwild):
        def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
            for asked in (False, True):
                task.sum_loss = asked
                losses.append([end.loss for end in super().epochs(task)])
            yield from ()

    fit(algo=Watched(), n_threads=n_threads, step_size=1.0, max_epochs=2)
    assert losses[0] == [None, None]
    assert all(isinstance(loss, float) for loss in losses[1])


def test_renumbered_features_have_the_same_losses() -> None:
    losses = []

    class Watched(Hogwild):
        def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
            task.sum_loss = True
            losses.append([end.loss for end in super().epochs(task)])
            yield from ()

    for layout in ("inplace", "renumbered"):
        fit(TEXT, LABELS, algo=Watched(layout=layout), n_threads=1, step_size=1.0, max_epochs=2)
    assert losses[0] == losses[1]


def test_combinations_that_mean_nothing_are_refused() -> None:
    for options, message in (
        ({"merge_every": 64, "write": "locked"}, "merge_every=64 needs write='racy' and order='free'"),
        ({"merge_every": 64, "order": "round-robin"}, "merge_every=64 needs write='racy' and order='free'"),
        ({"order": "round-robin", "write": "atomic"}, "order='round-robin' needs write='racy', not 'atomic'"),
        ({"layout": "renumbered", "write": "locked"}, "layout='renumbered' needs write='racy' or 'atomic'"),
    ):
        with pytest.raises(ConfigError, match=message):
            fit(**options)
    with pytest.raises(ConfigError, match="layout='renumbered' needs sparse data"):
        fit(X.toarray(), layout="renumbered")
