from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsgd
from dsgd._common.threads import cgroup_limit, default_threads, resolve_threads
from dsgd.algorithms import Hogwild
from dsgd.problems.task import EpochEnd, LocalTask

CORES = len(os.sched_getaffinity(0))
# What this process gets without OMP_NUM_THREADS: the machine that runs the tests may itself have a quota.
ALLOWED = min(CORES, max(1, math.ceil(cgroup_limit() or CORES)))


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("1", 1),
        ("1,4", 1),
        ("100000", ALLOWED),
        ("", ALLOWED),
        ("many", ALLOWED),
        ("²", ALLOWED),
        ("9" * 5000, ALLOWED),
    ],
)
def test_the_default_heeds_openmp(monkeypatch: pytest.MonkeyPatch, variable: str, expected: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert default_threads() == expected
    assert resolve_threads(None) == expected
    assert resolve_threads(3) == 3


def test_the_default_heeds_the_affinity_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert default_threads() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert default_threads() == ALLOWED


def tree(root: Path, membership: str, files: dict[str, str]) -> Path:
    """Write a fake /proc/self/cgroup and /sys/fs/cgroup."""
    for name, text in {"proc/self/cgroup": membership, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V1 = "12:cpuset:/\n4:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/cpu.max": "400000 100000", "sys/fs/cgroup/a/cpu.max": "200000 100000"}, 2.0),
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/cpu.max": "50000 100000", "sys/fs/cgroup/a/cpu.max": "max 100000"}, 0.5),
        ("0::/seen/from/the/host\n", {"sys/fs/cgroup/cpu.max": "300000 100000"}, 3.0),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "gibberish"}, None),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "100000 0"}, None),
        (
            V1,
            {
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            V1,
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            1.0,
        ),
        (V1, {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_the_quota_of_a_fake_tree(tmp_path: Path, membership: str, files: dict[str, str], limit: float | None) -> None:
    assert cgroup_limit(tree(tmp_path, membership, files)) == limit


def test_without_proc_there_is_no_quota(tmp_path: Path) -> None:
    assert cgroup_limit(tmp_path) is None


@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.0, 1), (1.5, min(2, CORES)), (1e6, CORES), (None, CORES)])
def test_the_default_heeds_the_quota(monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("dsgd._common.threads._quota", lambda: quota)
    assert default_threads() == expected


def test_little_data_gets_few_threads_unless_they_are_asked_for() -> None:
    random = np.random.default_rng(0)
    seen: list[int] = []

    class Watched(Hogwild):
        def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
            seen.append(task.n_threads)
            yield from super().epochs(task)

    few, many = random.normal(size=(50, 4)), random.normal(size=(50_000, 20))  # 20 passes over a million entries
    for X, n_threads in ((few, None), (few, 3), (many, None)):
        options: dict[str, Any] = {"loss": "squared", "step_size": 1e-3, "random_state": 0}
        dsgd.fit(X, X[:, 0], algo=Watched(), n_threads=n_threads, **options)
    assert seen == [1, 3, min(10, default_threads())]
