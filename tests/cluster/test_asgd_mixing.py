"""The step of ASGD with the states of others: it equals the formulas, and takes in only what it goes towards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from cluster.asgd_fits import MODELS, WORKERS, fit
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dsgd.algorithms import asgd
from dsgd.algorithms.asgd import mixed
from dsgd.cluster.program.commands import Message
from dsgd.cluster.program.parts import Parts
from dsgd.models.feature_major import FeatureMajor
from dsgd.models.kmeans import Centres
from dsgd.models.protocols import ParameterLayout
from dsgd.testing.asgd_reference import mixed_state

ROUNDS = 500
LAYOUTS: dict[str, ParameterLayout] = {
    "centres": Centres(n_features=6, n_outputs=5, fit_intercept=False),
    "one centre": Centres(n_features=6, n_outputs=1, fit_intercept=False),
    "blocks": FeatureMajor(n_features=40, fit_intercept=True),
    "few weights": FeatureMajor(n_features=3, fit_intercept=False),
}
Array = NDArray[Any]


def message_of(parts: Parts, state: Array, places: NDArray[np.intp] | None = None, number: int = 0) -> Message:
    value, keys = parts.packed(state, places, number)
    return Message(1, value, keys, "", 1)


def by_place(message: Message) -> dict[int, float]:
    """Return the values of a message by their places, by its listing: a number follows the values."""
    values = message.value[:-1].tolist()
    keys = range(len(values)) if message.keys is None else message.keys[:-1].tolist()
    return dict(zip(keys, values, strict=True))


def places_of(layout: ParameterLayout) -> list[list[int]]:
    """Return the places of every part: a centre has one weight of each feature, a block is of neighbours."""
    if isinstance(layout, Centres):
        return [list(range(c, layout.size, layout.n_outputs)) for c in range(layout.n_outputs)]
    n_parts = min(16, layout.size)
    return [[k for k in range(layout.size) if k * n_parts // layout.size == part] for part in range(n_parts)]


def mix(w: Array, stepped: Array, messages: Sequence[Message], layout: ParameterLayout, eps: float = 0.5) -> Array:
    return mixed(w, stepped, messages, Parts(layout), eps, 0, Counter())


@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize("name", LAYOUTS)
def test_rounds_of_random_states_equal_the_formulas(name: str, share: float) -> None:
    """The rounds follow on one another: a difference would grow."""
    layout, random = LAYOUTS[name], np.random.default_rng(0)
    parts, places, seen = Parts(layout), places_of(layout), Counter[str]()
    own = expected = random.standard_normal(layout.size)
    for _ in range(ROUNDS):
        step = 0.1 * (own - random.standard_normal(layout.size))
        states = own + random.standard_normal((random.integers(0, 5), layout.size))
        messages = [message_of(parts, state, parts.draw(random, share)) for state in states]
        eps = float(random.uniform(0.01, 1))
        own = mixed(own, own - step, messages, parts, eps, 0, seen)
        expected = mixed_state(expected, step, [by_place(message) for message in messages], places, eps)
        np.testing.assert_allclose(own, expected, rtol=0, atol=1e-12)
    assert seen["accepted"] > ROUNDS / 10
    assert seen["rejected"] > ROUNDS / 10


@pytest.mark.parametrize("partial", [1.0, 0.4])
@pytest.mark.parametrize("model", MODELS)
def test_rounds_of_a_run_equal_the_formulas(model: str, partial: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, total = 0, Counter[str]()

    def checked(
        w: Array, stepped: Array, messages: Sequence[Message], parts: Parts, eps: float, time: int, seen: Counter[str]
    ) -> Array:
        nonlocal rounds
        before = seen.copy()
        got = mixed(w, stepped, messages, parts, eps, time, seen)
        groups = [np.flatnonzero(parts.part_of == part).tolist() for part in range(parts.n_parts)]
        expected = mixed_state(w, w - stepped, [by_place(message) for message in messages], groups, eps)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
        rounds += 1
        total.update({name: seen[name] - before[name] for name in ("received", "accepted", "rejected")})
        return got

    monkeypatch.setattr(asgd, "mixed", checked)
    fit(model, max_epochs=21, partial=partial)
    assert rounds >= ROUNDS
    assert min(total["received"], total["accepted"], total["rejected"]) > WORKERS * 10


@pytest.mark.parametrize("name", LAYOUTS)
def test_states_that_are_rejected_leave_no_trace(name: str) -> None:
    layout, random = LAYOUTS[name], np.random.default_rng(1)
    parts = Parts(layout)
    w, step = random.standard_normal((2, layout.size))
    ahead, behind = message_of(parts, w - 2 * step), message_of(parts, w + step)
    own = message_of(parts, w)  # the state itself: every step leads away from it
    for rejected in ([], [behind], [own], [behind, own, behind]):
        assert mix(w, w - step, rejected, layout).tobytes() == (w - step).tobytes()
    alone = mix(w, w - step, [ahead], layout)
    assert alone.tobytes() == mix(w, w - step, [behind, ahead, own], layout).tobytes()
    np.testing.assert_allclose(alone, w - step - 0.5 / 2 * (2 * step), rtol=0, atol=1e-15 * 100)


def test_parts_are_accepted_each_on_its_own_and_counted() -> None:
    layout = LAYOUTS["centres"]
    parts, w = Parts(layout), np.zeros(layout.size)
    stepped = np.full(layout.size, 1.0)
    first = parts.part_of == 0
    state = np.where(first, 2.0, -2.0)
    seen = Counter[str]()
    new = mixed(w, stepped, [message_of(parts, state, number=30)], parts, 1.0, 100, seen)
    assert new.tolist() == np.where(first, 1 + 2 / 2, 1.0).tolist()
    assert seen == {"received": 1, "accepted": 1, "rejected": 4, "age": 70}
    some = np.flatnonzero(parts.part_of == 3)
    mixed(w, stepped, [message_of(parts, state, some, 120)], parts, 1.0, 100, seen)
    assert seen == {"received": 2, "accepted": 1, "rejected": 5, "age": 70}


@given(st.integers(0, 2**32 - 1), st.floats(0, 1, exclude_min=True), st.integers(1, 5))
def test_a_state_draws_nearer_to_the_mean_of_those_that_it_accepts(seed: int, eps: float, count: int) -> None:
    layout, random = FeatureMajor(n_features=1, fit_intercept=False), np.random.default_rng(seed)
    parts = Parts(layout)
    w = random.standard_normal(1)
    step = random.standard_normal(1) * 1e-6
    messages = [message_of(parts, w - 1e-6 + state) for state in random.standard_normal((count, 1))]
    messages = [each for each in messages if abs(w - step - each.value[0]) < abs(w - each.value[0])]
    new = mix(w, w - step, messages, layout, eps)
    if messages:
        mean = np.mean([message.value[0] for message in messages])
        assert abs(new[0] - mean) <= abs(w[0] - mean) + 1e-15
        share = eps * len(messages) / (len(messages) + 1)
        np.testing.assert_allclose(new, (1 - share) * w + share * mean - step, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYOUTS)
def test_parts_are_packed_and_unpacked(name: str, dtype: Any) -> None:
    layout, random = LAYOUTS[name], np.random.default_rng(2)
    parts, groups = Parts(layout), places_of(layout)
    assert [np.flatnonzero(parts.part_of == part).tolist() for part in range(parts.n_parts)] == groups
    vector = random.standard_normal(layout.size).astype(dtype)
    assert parts.draw(random, 1.0) is None
    for share in (0.01, 0.3, 0.7):
        drawn = parts.draw(random, share)
        count = max(1, round(share * parts.n_parts))
        if drawn is None:
            assert count == parts.n_parts
            continue
        assert (np.diff(drawn) > 0).all()
        whole = [group for group in groups if set(group) <= set(drawn.tolist())]
        assert len(whole) == count
        assert sum(map(len, whole)) == len(drawn)
        message = message_of(parts, vector, drawn, 77)
        assert message.value.dtype == dtype
        unpacked = parts.unpacked(message)
        assert unpacked is not None
        assert unpacked[0] is not None
        assert np.array_equal(unpacked[0], drawn)
        assert unpacked[1].tolist() == vector[drawn].tolist()
        assert unpacked[2] == 77


def torn_messages(parts: Parts, state: Array) -> list[Message]:
    """Return what a read of two letters at once can give: headers, keys and values are written one after another."""
    some = message_of(parts, state, np.arange(4))
    assert some.keys is not None
    last = np.uint64(len(state))
    return [
        Message(1, state, None, "", 1),  # a value less
        Message(1, np.append(state, np.nan), None, "", 1),
        Message(1, np.append(state, np.inf), None, "", 1),
        Message(1, np.append(state, -1.0), None, "", 1),
        Message(1, some.value, some.keys[:-1], "", 1),
        Message(1, some.value, np.array([0, 1, 2, 3, 4], np.uint64), "", 1),
        Message(1, some.value, np.array([0, last, 2, 3, last], np.uint64), "", 1),
        Message(1, some.value, np.array([0, 1, state[2:3].view(np.uint64)[0], 3, last], np.uint64), "", 1),
        Message(1, np.empty(0), np.empty(0, np.uint64), "", 1),
    ]


@pytest.mark.parametrize("name", ["centres", "blocks"])
def test_a_torn_message_that_is_none_is_received_and_nothing_else(name: str) -> None:
    layout = LAYOUTS[name]
    parts, w, seen = Parts(layout), np.zeros(layout.size), Counter[str]()
    stepped = np.full(layout.size, 1.0)
    torn = torn_messages(parts, np.full(layout.size, 1.5))
    assert mixed(w, stepped, torn, parts, 1.0, 0, seen) is stepped
    assert seen == {"received": len(torn)}
    sound = message_of(parts, np.full(layout.size, 1.5))
    both = mixed(w, stepped, [*torn, sound], parts, 1.0, 0, seen)
    assert both.tolist() == mix(w, stepped, [sound], layout, 1.0).tolist() != stepped.tolist()


def test_a_torn_message_of_parts_that_names_a_place_twice_is_none() -> None:
    layout = LAYOUTS["blocks"]
    w = np.zeros(layout.size)
    keys = np.array([0, 5, 5, 3, layout.size], np.uint64)
    new = mix(w, w + 1, [Message(1, np.array([2.0, 2, 2, 2, 0]), keys, "", 1)], layout, 1.0)
    assert new.tolist() == (w + 1).tolist()
