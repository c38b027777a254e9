"""Data packed for other processes: the same numbers, mapped, in files that nobody has to delete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from local.fits import X, Y

from dsgd.algorithms import DisSvrg
from dsgd.cluster.local import packing
from dsgd.cluster.local.packing import Nameless, load_kernels, load_run, pack_part, pack_run, path_of
from dsgd.cluster.program.partition import deal
from dsgd.cluster.runtime.run_spec import RunSpec
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.losses import Huber
from dsgd.problems.problem import Problem
from dsgd.schedules import InverseSqrt

WEIGHTS = np.linspace(0.5, 1.5, len(Y))


def assignment_of(data: Any, sample_weight: Any, workers: int) -> RunSpec:
    matrix = as_matrix(data, 1)
    problem = Problem(
        matrix=matrix,
        target=Y.astype(data.dtype),
        sample_weight=None if sample_weight is None else sample_weight.astype(data.dtype),
        loss=Huber(epsilon=0.3),
        alphas=(1e-3, 1e-2),
        fit_intercept=True,
        scale=measure(matrix, sample_weight, 1),
    )
    return RunSpec(
        algorithm=DisSvrg(staleness=2),
        problem=problem,
        rows=deal(len(Y), workers, 7),
        of_whole=problem.loss.of_whole(problem, problem.objective(1)),
        n_threads=1,
        start=np.arange(21, dtype=data.dtype),
        max_clocks=5,
        passes_per_clock=0.2,
        schedule=InverseSqrt(),
        step_size=0.1,
        seed=2**63,
        n_total=len(Y),
    )


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("sample_weight", [None, WEIGHTS], ids=["even", "weighted"])
@pytest.mark.parametrize("data", [X, X.toarray().astype(np.float32)], ids=["sparse", "dense"])
def test_what_is_mapped_is_what_was_packed(data: Any, sample_weight: Any, workers: int) -> None:
    work = assignment_of(data, sample_weight, workers)
    files = [pack_run(work, {"notices": [1, 5]}), pack_part(work, workers - 1)]
    job = load_run(path_of(files[0].descriptor))
    mapped = load_kernels(path_of(files[1].descriptor), job, 1)
    for file in files:
        file.close()  # what is mapped stays
    kernels = work.kernels(workers - 1)
    rows = np.arange(20)
    for name, arguments in (
        ("full_gradient", ()),
        ("minibatch_step", (rows, 0.1, 20, 0)),
        ("sgd_steps", (rows, 0.1, 0)),
    ):
        one, other = (getattr(which, name)(work.start, *arguments) for which in (kernels, mapped))
        assert np.array_equal(one, other)
    assert mapped.problem.loss == work.problem.loss
    assert np.array_equal(job.start, work.start)
    assert job.options == {"notices": [1, 5]}
    for name in ("algorithm", "schedule", "max_clocks", "passes_per_clock", "step_size", "seed", "n_total"):
        assert getattr(job.plan, name) == getattr(work, name)
    stored = mapped.problem.matrix.arrays
    for array in [*(stored if isinstance(stored, tuple) else [stored]), mapped.problem.target]:
        assert not array.flags.owndata
        assert not array.flags.writeable


@pytest.mark.parametrize("room", [True, False])
def test_a_file_lies_in_memory_where_there_is_room_and_has_no_name(
    room: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_MEMORY", tmp_path if room else tmp_path / "none")
    file = Nameless({"numbers": np.arange(1000)})
    path = os.readlink(path_of(file.descriptor))  # noqa: PTH115  # it names no path
    assert path.startswith(str(tmp_path)) == room
    assert path.endswith("(deleted)")
    assert not list(tmp_path.iterdir())
    file.close()
