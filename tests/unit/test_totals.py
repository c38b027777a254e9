"""Sums whose last bit does not depend on how the numbers are divided."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsgd.data.totals import Total


@given(st.integers(0, 2**32), st.integers(1, 20_000), st.lists(st.integers(0, 20_000), max_size=6))
def test_a_sum_is_the_nearest_float_however_it_is_divided(seed: int, n: int, cuts: list[int]) -> None:
    random = np.random.default_rng(seed)
    values = random.random(n) * 10.0 ** random.integers(-8, 8, n)
    parts = np.split(values, sorted(min(cut, n) for cut in cuts))
    total = functools.reduce(Total.plus, map(Total.of, parts))
    assert total.high == Total.of(values).high == math.fsum(values.tolist())


@pytest.mark.parametrize(
    ("values", "total"),
    [([], 0.0), ([1e308, 1e308], math.inf), ([math.inf, 1.0], math.inf), ([math.nan, 1.0], math.nan)],
)
def test_sums_out_of_range_are_those_of_floats(values: list[float], total: float) -> None:
    long = np.concatenate([values, np.zeros(5000)])
    for each in (np.array(values, float), long):
        np.testing.assert_equal(Total.of(each).high, total)
