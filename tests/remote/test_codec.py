"""Values between hosts: what is packed comes back as it was, and nothing else comes in."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dsgd.algorithms.ssp import Ssp
from dsgd.cluster.driver.channel import _decoded
from dsgd.cluster.program.groups import GroupMembers
from dsgd.cluster.program.partition import Shares
from dsgd.cluster.remote.codec import pack, unpack
from dsgd.cluster.remote.server_host import ServerOrders
from dsgd.data.summary import Summary
from dsgd.errors import DsgdError, ProtocolError
from dsgd.fitting.parts import summarise
from dsgd.losses import resolve_loss
from dsgd.problems.parts import PartLoss
from dsgd.schedules import resolve_schedule

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
ARRAYS = arrays.arrays(
    arrays.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufU"), arrays.array_shapes(min_dims=0, min_side=0)
)
VALUES = st.recursive(
    PLAIN | ARRAYS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.integers() | st.text(), inner),
    max_leaves=8,
)


def sent(value: Any) -> Any:
    """Return a value after its way: JSON between two packings."""
    packed, found = pack(value)
    return unpack(json.loads(json.dumps(packed)), found)


def check_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            check_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            check_same(one, other)
    else:
        assert a == b


@given(VALUES)
def test_what_is_packed_comes_back(value: Any) -> None:
    check_same(sent(value), value)


@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
def test_sparse_rows_come_back(kind: Any) -> None:
    X = kind(scipy.sparse.random(7, 5, 0.4, random_state=1, format="csr"))
    back = sent(X)
    assert type(back) is kind
    assert (back != X).nnz == 0


def test_configurations_come_back() -> None:
    for value in (Ssp(staleness=math.inf), resolve_loss("hinge"), resolve_schedule("linear"), Shares((2, 1))):
        assert sent(value) == value
    assert sent([GroupMembers("all", (0, 1))]) == [GroupMembers("all", (0, 1))]
    assert sent(PartLoss(0.1, 3)) == PartLoss(0.1, 3)
    assert sent(np.dtype("float32")) == np.float32
    assert sent(np.float64(0.1)) == 0.1


@pytest.mark.parametrize("labels", [np.arange(9) % 2, np.array(["ü", "ß", "c"] * 3), np.linspace(0, 1, 9)])
def test_a_summary_comes_back(labels: Any) -> None:
    loss = resolve_loss("squared" if labels.dtype.kind == "f" else "logistic")
    one, other = (
        summarise(np.eye(9)[rows], labels[rows], None, loss, rows=rows) for rows in np.split(np.arange(9), [4])
    )
    whole = Summary.merge([sent(one), sent(other)])
    np.testing.assert_equal(whole.sizes.squares, (one + other).sizes.squares)
    np.testing.assert_array_equal(whole.sample.X, (one + other).sample.X)
    np.testing.assert_array_equal(whole.classes, (one + other).classes)


def test_orders_of_a_server_come_back() -> None:
    orders = ServerOrders(
        tables=[{"name": "weights", "size": 3}],
        start=np.zeros(3, ">f8"),
        staleness=math.inf,
        groups=[GroupMembers("all", (0, 1))],
        shard=0,
        n_shards=1,
        incarnation=2,
        checkpoints=[None, {"weights": np.arange(6.0)[::2]}],
        notices=[1, 4],
        record_order=False,
        server={"on_lost": "fail"},
    )
    back = sent(orders)
    assert back.staleness == math.inf
    np.testing.assert_array_equal(back.checkpoints[1]["weights"], [0.0, 2.0, 4.0])


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([object()]), print, 1j])
def test_other_values_are_not_sent(value: Any) -> None:
    with pytest.raises(ProtocolError, match="not sent"):
        pack(value)


@pytest.mark.parametrize(
    "name", ["os:system", "subprocess:Popen", "builtins:eval", "dsgd.api:fit", "dsgd.nothing:X", ":", "x"]
)
def test_other_classes_are_not_made(name: str) -> None:
    with pytest.raises(ProtocolError):
        unpack({name: [["args", "true"]]}, {})


def _json_like() -> st.SearchStrategy[Any]:
    names = st.sampled_from(
        ["list", "tuple", "map", "array", "scalar", "dtype", "csr_array", "dsgd.problems.parts:PartLoss"]
    )
    return st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(names | st.text(), inner, max_size=2))


@given(_json_like())
def test_whatever_comes_is_a_value_or_an_error_of_ours(packed: Any) -> None:
    with contextlib.suppress(DsgdError):
        unpack(packed, {"0": np.zeros(3)})


@given(st.binary(max_size=200), st.integers(0, 2**63))
def test_bytes_that_are_no_message_are_refused(data: bytes, length: int) -> None:
    for each in (data, length.to_bytes(8, "little") + data):
        with pytest.raises(ProtocolError):
            _decoded(each)


@given(st.data())
def test_changed_messages_are_refused_or_read(data: st.DataObject) -> None:
    text = json.dumps(["kind", {"a": 1}, [["x", "<f8", [2, 3]]]]).encode()
    whole = bytearray(len(text).to_bytes(8, "little") + text + bytes(48))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        _decoded(bytes(whole))
