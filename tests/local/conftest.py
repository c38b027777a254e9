"""A fixture that checks after every test that its runs have left nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from leftovers import left_since, leftovers


@pytest.fixture(autouse=True)
def _clean_end() -> Iterator[None]:
    before = leftovers()
    yield
    gc.collect()
    assert not left_since(before)
