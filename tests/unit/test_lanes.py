"""Problems of one-vs-all on several threads at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd.errors import ConfigError, DivergedError
from dsgd.fitting.lanes import Lanes

X, _ = make_problem(90, 12, seed=5)
Y = np.arange(90) % 5


def fit(y: Any = Y, **options: Any) -> Any:
    return dsgd.fit(X, y, random_state=3, max_epochs=4, **options)


@pytest.mark.parametrize("n_threads", [2, 3, 5, 7])
@pytest.mark.parametrize("algo", ["sgd", "minibatch", "batch", "svrg", "sdca", "hogwild"])
def test_the_number_of_threads_changes_nothing(algo: str, n_threads: int) -> None:
    """With seven threads for five problems every problem has one, as with fewer."""
    one, several = (fit(algo=algo, n_threads=n) for n in (1, n_threads))
    np.testing.assert_array_equal(one.coef_, several.coef_)
    assert [r.objective for r in one.history] == [r.objective for r in several.history]
    assert [r.step_size for r in one.history] == [r.step_size for r in several.history]


def test_few_problems_have_several_threads_each() -> None:
    """Two problems that are trained on two threads each, which take other rows than one thread would."""
    one, four = (fit(Y % 3, algo="hogwild", write="locked", n_threads=n) for n in (1, 6))
    assert np.abs(one.coef_ - four.coef_).max() > 0


def test_problems_of_different_lanes_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=30)
    threads: dict[int, str] = {}

    def run(number: int) -> int:
        if number < 3:
            together.wait()
        threads[number] = threading.current_thread().name
        return number * number

    with Lanes([[0, 3], [1, 4], [2]]) as lanes:
        assert lanes.each(run) == [0, 1, 4, 9, 16]
    assert threads[0] == threads[3] != threads[1]
    assert not any(thread.name.startswith("dsgd-lane") for thread in threading.enumerate())


def test_the_first_error_ends_all_lanes() -> None:
    ran: list[int] = []

    def run(number: int) -> None:
        if number == 0:
            raise ValueError("of problem 0")
        time.sleep(0.05)
        ran.append(number)

    with Lanes([[0], list(range(1, 100))]) as lanes, pytest.raises(ValueError, match="of problem 0"):
        lanes.each(run)
    assert len(ran) < 99


def test_ctrl_c_waits_for_what_is_under_way() -> None:
    ran: list[int] = []
    both = threading.Barrier(2, timeout=30)

    def run(number: int) -> None:
        if number in (0, 100):
            both.wait()
        if number == 0:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        ran.append(number)

    with Lanes([list(range(100)), [100]]) as lanes, pytest.raises(KeyboardInterrupt):
        lanes.each(run)
    assert {0, 100} <= set(ran)
    assert len(ran) < 100


def test_a_problem_that_diverges_on_a_thread_ends_the_fit() -> None:
    with pytest.raises(DivergedError), pytest.warns(RuntimeWarning, match="diverged"):
        fit(algo="sgd", loss="squared_hinge", n_threads=2, step_size=1e300)


def test_threads_that_nothing_can_be_spread_over_are_refused() -> None:
    with pytest.raises(ConfigError, match="runs on one thread; n_threads=2"):
        fit(Y % 2, algo="sgd", n_threads=2)
    fit(Y % 3, algo="sgd", n_threads=2)


def test_a_forked_child_trains_on_threads() -> None:
    expected = fit(algo="sgd", n_threads=1).coef_
    child = os.fork()
    if child == 0:
        same = np.array_equal(fit(algo="sgd", n_threads=2).coef_, expected)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
