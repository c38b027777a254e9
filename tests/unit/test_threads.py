from __future__ import annotations

import os

import pytest

from dsgd.errors import ConfigError
from dsgd.threads import default_threads, resolve_threads

ALLOWED = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("variable", "expected"), [("1", 1), ("1,4", 1), ("100000", ALLOWED), ("", ALLOWED), ("many", ALLOWED)]
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
    assert default_threads() == len(before)


@pytest.mark.parametrize("wrong", [0, -1, 1025, 1.5, "2", True])
def test_wrong_numbers_are_refused(wrong: int) -> None:
    with pytest.raises(ConfigError, match="n_threads must be an integer from 1 to 1024"):
        resolve_threads(wrong)
