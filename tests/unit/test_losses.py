from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsgd import losses
from dsgd.testing import reference

ALL = sorted(name for name, loss in losses.LOSSES.items() if loss.model in ("linear", "softmax"))  # of decision values
NAMES = [name for name in ALL if name != "softmax"]  # of one decision value
MARGINS = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("name", NAMES)
@given(z=MARGINS, y=st.sampled_from([-1.0, 1.0]))
def test_the_core_equals_the_reference(name: str, z: float, y: float) -> None:
    loss = losses.resolve_loss(name)
    zs, ys = np.array([z]), np.array([y])
    np.testing.assert_allclose(loss.value(zs, ys), reference.VALUES[name](zs, ys), rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(loss.derivative(zs, ys), reference.DERIVATIVES[name](zs, ys), rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("name", NAMES)
@given(z=MARGINS, step=st.floats(1e-3, 10), y=st.sampled_from([-1.0, 1.0]))
def test_a_loss_lies_above_its_tangent(name: str, z: float, step: float, y: float) -> None:
    loss = losses.resolve_loss(name)
    for to in (z - step, z + step):
        tangent = loss.value(z, y) + loss.derivative(z, y) * (to - z)
        assert loss.value(to, y) >= tangent - 1e-9 * max(1, abs(float(tangent)))


@pytest.mark.parametrize("name", NAMES)
def test_curvature_and_steepness_are_those_of_the_derivative(name: str) -> None:
    loss = losses.resolve_loss(name)
    z = np.linspace(-8, 8, 160_001)
    slope = loss.derivative(z, 1.0)
    change = np.abs(np.diff(slope)) / np.diff(z)
    kinked = name in ("hinge", "perceptron", "epsilon_insensitive")
    assert loss.curvature == pytest.approx(1.0 if kinked else change.max(), rel=1e-6)
    far = loss.derivative(np.array([-1e6, -1e7]), 1.0)
    assert loss.steep == (far[1] != far[0])


def test_the_best_constant_minimises_the_mean_loss() -> None:
    random = np.random.default_rng(0)
    y, weight = random.lognormal(size=201), random.exponential(size=201)
    for loss in (losses.Squared(), losses.EpsilonInsensitive(epsilon=0), losses.Huber(epsilon=1e-6)):
        for sample_weight in (None, weight):
            best = loss.best_constant(y, sample_weight)
            values = [np.average(loss.value(z, y), weights=sample_weight) for z in (best, best - 1e-3, best + 1e-3)]
            assert values[0] == min(values)
    assert losses.Hinge().best_constant(np.array([1.0, 1.0]), None) == 0


def test_the_width_is_an_option() -> None:
    for loss in (losses.Huber, losses.EpsilonInsensitive, losses.SquaredEpsilonInsensitive):
        assert loss().epsilon == reference.EPSILON
        assert loss(epsilon=0.5).value(2.0, 0.0) != loss(epsilon=1.0).value(2.0, 0.0)
        assert loss(epsilon=0.5).derivative(0.7, 0.0) != loss(epsilon=1.0).derivative(0.7, 0.0)
    assert losses.EpsilonInsensitive(epsilon=0).value(2.0, 0.0) == 2


def test_every_loss_has_a_reference() -> None:
    assert sorted(reference.VALUES) == ALL


@given(z=st.lists(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), min_size=1, max_size=5), y=st.integers(0, 2))
def test_softmax_equals_the_reference_and_its_gradient_sums_to_zero(z: list[list[float]], y: int) -> None:
    loss, zs, ys = losses.Softmax(), np.array(z), np.full(len(z), y)
    np.testing.assert_allclose(loss.value(zs, ys), reference.VALUES["softmax"](zs, ys), rtol=1e-12, atol=1e-12)
    slope = loss.derivative(zs, ys)
    np.testing.assert_allclose(slope, reference.DERIVATIVES["softmax"](zs, ys), rtol=0, atol=1e-12)
    np.testing.assert_allclose(slope.sum(axis=1), 0, atol=1e-12)


def test_the_curvature_of_softmax_is_its_greatest() -> None:
    greatest = 0.0
    for p in np.random.default_rng(0).dirichlet([0.3] * 4, size=2000):
        greatest = max(greatest, float(np.linalg.eigvalsh(np.diag(p) - np.outer(p, p))[-1]))
    assert losses.Softmax.curvature * 0.99 < greatest <= losses.Softmax.curvature


def test_values_broadcast() -> None:
    assert losses.Hinge().value([[0.0], [2.0]], [1.0, -1.0]).tolist() == [[1, 1], [0, 3]]


def test_a_name_or_an_object() -> None:
    assert losses.resolve_loss("squared") == losses.Squared()
    assert losses.resolve_loss(losses.Logistic()) is not None


def test_a_width_may_be_given_without_its_name() -> None:
    assert losses.Huber(1.35) == losses.Huber(epsilon=1.35)
    assert losses.EpsilonInsensitive(0.2) == losses.EpsilonInsensitive(epsilon=0.2)
    assert losses.SquaredEpsilonInsensitive(0.2).epsilon == 0.2


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_of_a_decision_value_that_is_no_number_is_none(name: str) -> None:
    """A maximum may hide it: the model would have no loss, and predict nothing."""
    for y in (-1.0, 1.0):
        assert np.isnan(losses.resolve_loss(name).value(np.nan, y))
