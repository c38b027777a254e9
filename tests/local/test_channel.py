"""What the processes of a local cluster tell each other, and their configurations as JSON."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from dsgd.algorithms import REGISTRY, Algorithm, DisSvrg, Ssp
from dsgd.cluster.driver.channel import Channel
from dsgd.cluster.runtime.references import described, restored
from dsgd.errors import ConfigError, DeadlineError
from dsgd.losses import LOSSES, Huber, Loss
from dsgd.schedules import SCHEDULES, InverseScaling, Schedule

Ends = tuple[Channel, Channel]


@pytest.fixture
def ends() -> Iterator[Ends]:
    one, other = (Channel(end) for end in socket.socketpair())
    yield one, other
    one.close()
    other.close()


def test_messages_arrive_whole_and_in_order(ends: Ends) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "empty": np.empty((0, 4), np.int32), "number": np.array(3, np.uint64)}
    ends[0].send("first", arrays, bound=math.inf, text="ü")
    ends[0].send("second")
    first, second = ends[1].arrived()
    assert (first.kind, first.fields) == ("first", {"bound": math.inf, "text": "ü"})
    assert first.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert first.arrays[name].dtype == array.dtype
        assert first.arrays[name].shape == array.shape
        assert np.array_equal(first.arrays[name], array)
    assert second == ("second", {}, {})
    assert ends[1].arrived() == []


def test_a_message_larger_than_any_buffer_comes_in_pieces(ends: Ends) -> None:
    array = np.random.default_rng(0).standard_normal(1_000_000)
    sender = threading.Thread(target=ends[0].send, args=("large", {"array": array}))
    sender.start()
    message = ends[1].receive(30)
    sender.join()
    assert np.array_equal(message.arrays["array"], array)


def test_messages_that_come_together_are_received_one_by_one(ends: Ends) -> None:
    for kind in ("first", "second"):
        ends[0].send(kind)
    assert [ends[1].receive(5).kind, ends[1].receive(5).kind] == ["first", "second"]


def test_a_wait_has_an_end(ends: Ends) -> None:
    with pytest.raises(DeadlineError, match=r"no message came within 0\.01 s"):
        ends[1].receive(0.01)


@pytest.mark.parametrize("wait", [True, False])
def test_the_end_of_the_other_end_is_noticed_after_what_it_said(ends: Ends, wait: bool) -> None:
    ends[0].send("last")
    ends[0].close()
    assert [message.kind for message in ends[1].arrived()] == ["last"]
    with pytest.raises(EOFError):
        ends[1].receive(5) if wait else ends[1].arrived()


@dataclass(frozen=True, kw_only=True)
class Own(Ssp):
    """Not in the registry."""

    name = "own"
    more: int = 1


@pytest.mark.parametrize(
    ("value", "registry", "base", "name"),
    [
        (DisSvrg(staleness=math.inf, inner_steps=5), REGISTRY, Algorithm, "dissvrg"),
        (Own(more=2), REGISTRY, Algorithm, f"{__name__}:Own"),
        (Huber(epsilon=0.1), LOSSES, Loss, "huber"),
        (InverseScaling(power=0.3), SCHEDULES, Schedule, "inverse-scaling"),
    ],
)
def test_a_configuration_is_made_again_from_json(value: Any, registry: Any, base: Any, name: str) -> None:
    description = described(value, registry)
    assert description["name"] == name
    assert restored(description, registry, base) == value


def test_only_a_configuration_is_made() -> None:
    with pytest.raises(ConfigError, match="subprocess:Popen is no Algorithm"):
        restored({"name": "subprocess:Popen", "options": {"args": "true"}}, REGISTRY, Algorithm)
    with pytest.raises(ConfigError, match="worker processes cannot be told"):
        described(Own(more=object()), REGISTRY)  # type: ignore[arg-type]
