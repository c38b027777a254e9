"""Forked children, signals, and fits at the same time (check 5 of the main job)."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsgd
from dsgd import _core
from dsgd.data.inputs import as_matrix

PROBLEM = """
import os, signal, sys, warnings
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
import numpy as np, dsgd
from dsgd.problems.task import EpochEnd
X, y = dsgd.data.make_text_classification(3000, random_state=0)
def fit(**more):
    return dsgd.fit(X, y, algo="hogwild", n_threads=2, step_size=1.0, **more)
"""


Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a script; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(script: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROBLEM + script]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        with process:
            process.kill()


def test_a_fit_in_a_forked_child_after_a_fit_in_the_parent(start: Start) -> None:
    script = """
from dsgd import _core
parent = fit()
before = _core.backend()
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, from Python 3.12 on
child = os.fork()
if child == 0:
    score = fit().score(X, y)
    print(before, _core.backend(), score > 0.9, flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    process = start(script)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        pytest.fail("the fit in the child hangs")
    assert process.returncode == 0, err
    assert out.split() == ["openmp", "std_threads", "True"]


def test_control_c_returns_the_model_so_far(start: Start) -> None:
    script = """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    result = fit(max_epochs=10**9, progress=True)
print(len(result.history), result.history[-1].epoch, result.score(X, y) > 0.9)
print(caught[0].category.__name__, caught[0].message, caught[0].filename)
"""
    process = start(script)
    assert process.stderr is not None
    for _ in range(3):
        assert process.stderr.readline().startswith("epoch")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    first, second = out.splitlines()
    epochs, last, good = first.split()
    assert int(epochs) == int(last) >= 3
    assert good == "True"
    assert second.startswith("RuntimeWarning interrupted after ")
    assert second.endswith("of 1000000000 epochs; the model so far is returned <string>")


def test_control_c_before_the_first_epoch_ends_is_an_interrupt(start: Start) -> None:
    script = """
import dsgd.algorithms, signal
from dsgd.algorithms.base import Algorithm
class Interrupted(dsgd.algorithms.Sgd):
    def epochs(self, task):
        signal.raise_signal(signal.SIGINT)
        yield EpochEnd(1, 0.1)
try:
    dsgd.fit(X, y, algo=Interrupted(), step_size=0.1)
except KeyboardInterrupt:
    print("interrupted")
"""
    out, err = start(script).communicate(timeout=60)
    assert out == "interrupted\n", err


def test_after_control_c_the_model_is_the_one_of_the_last_record(start: Start) -> None:
    script = """
import signal
class Interrupted(dsgd.algorithms.Sgd):
    def epochs(self, task):
        yield EpochEnd(1, 0.1)
        task.weights[:] = np.nan  # half of an epoch, or one that diverges
        signal.raise_signal(signal.SIGINT)
        yield EpochEnd(2, 0.1)
warnings.simplefilter("ignore")
result = dsgd.fit(X, y, algo=Interrupted(), loss="logistic", alpha=0, step_size=0.1)
print(len(result.history), round(result.history[-1].objective, 10), (result.coef_ == 0).all())
"""
    out, err = start(script).communicate(timeout=60)
    assert out.split() == ["1", str(round(np.log(2), 10)), "True"], err


def test_two_fits_in_two_python_threads_run_at_once() -> None:
    # One long epoch runs in a thread; if it held the GIL, whole fits could not begin and end here within it.
    rng = np.random.default_rng(0)
    long = rng.standard_normal((400_000, 100))
    targets = np.where(long[:, 0] > 0, 1.0, -1.0)
    config: dict[str, Any] = {"alpha_l1": 0, "alpha_l2": 0.1, "fit_intercept": False, "n_threads": 1}
    objective = _core.LinearObjective(as_matrix(long, 1), targets, None, loss=_core.Loss("hinge", 0), **config)
    schedule = _core.Schedule(step_size=0.1, decay=1, power=0)
    epoch = _core.Epoch(index=0, schedule=schedule, block_size=1, seed=0)
    span: list[float] = []

    def run() -> None:
        span.append(time.perf_counter())
        _core.sgd_epoch(objective, np.zeros(100), epoch)
        span.append(time.perf_counter())

    short = rng.standard_normal((100, 5))
    thread = threading.Thread(target=run)
    thread.start()
    fits = []
    while thread.is_alive():
        begin = time.perf_counter()
        dsgd.fit(short, short[:, 0] > 0, algo="hogwild", n_threads=2, max_epochs=1)
        fits.append((begin, time.perf_counter()))
    thread.join()
    inside = [fit for fit in fits if span[0] < fit[0] and fit[1] < span[1]]
    assert len(inside) >= 3  # a thousand are; without releasing the GIL one may slip in before the epoch begins


def test_concurrent_fits_give_what_they_give_alone() -> None:
    X, y = dsgd.data.make_text_classification(2000, random_state=0)

    def fit(seed: int) -> bytes:
        return dsgd.fit(X, y, algo="hogwild", n_threads=1, random_state=seed, max_epochs=5).coef_.tobytes()

    alone = [fit(seed) for seed in range(4)]
    together: dict[int, bytes] = {}
    threads = [threading.Thread(target=lambda s=s: together.update({s: fit(s)})) for s in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [together[seed] for seed in range(4)] == alone


def test_the_old_model_is_whole_when_a_save_is_killed(start: Start, tmp_path: Path) -> None:
    script = f"""
from dsgd._common.files import replacing
result = fit(max_epochs=1)
result.save({str(tmp_path / "model")!r})
with replacing({str(tmp_path / "model")!r}) as beside:
    beside.write_bytes(b"half")
    print("ready", flush=True)
    import time; time.sleep(60)
"""
    process = start(script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait(timeout=60)
    process.communicate()
    assert len(dsgd.load(tmp_path / "model").coef_) == 47236
