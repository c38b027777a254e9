"""What `save` wrote and something has damaged is refused, or is the same in spite of it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from problems import make_problem

import dsgd
from dsgd._common.checksum import checked, with_checksum
from dsgd.cluster import Simulation, Trace
from dsgd.cluster.runtime.checkpoint import About, Checkpoint
from dsgd.errors import DataError, DsgdError

X, Y = make_problem(80, 12, seed=0)
ABOUT = About(
    algorithm="ssp",
    loss="Logistic()",
    alpha_l1=0.0,
    alpha_l2=0.01,
    n_nodes=2,
    n_shards=2,
    n_samples=80,
    n_parameters=13,
    dtype="float64",
    seed=5,
    step_size=0.1,
)
Write = Callable[[Path], None]
Content = Callable[[Path], Any]


def write_model(path: Path) -> None:
    dsgd.fit(X, np.where(Y > 0, "ja", "nein"), algo="sgd", loss="logistic", max_epochs=2, random_state=0).save(path)


def model_content(path: Path) -> Any:
    result = dsgd.load(path)
    model = result.model
    assert model.classes is not None
    return model.weights.tobytes(), model.description(), model.loss, model.classes.tolist(), result.history.to_json()


def write_checkpoint(path: Path) -> None:
    shards = [{"weights": np.linspace(0, 1, 7) + i, "workers": np.arange(2, dtype=np.uint64)} for i in range(2)]
    Checkpoint(clock=5, incarnation=1, shards=shards).save(path, ABOUT)


def checkpoint_content(path: Path) -> Any:
    checkpoint, about = Checkpoint.load(path)
    shards = [{name: (str(array.dtype), array.tolist()) for name, array in part.items()} for part in checkpoint.shards]
    return checkpoint.clock, checkpoint.incarnation, shards, about


def write_trace(path: Path) -> None:
    cluster = Simulation(workers=2, seed=0, record_answers=True)
    result = dsgd.fit(X, Y, algo="ssp", loss="logistic", max_epochs=1, step_size=0.1, random_state=0, cluster=cluster)
    assert result.trace is not None
    assert result.trace.answers
    result.trace.save(path)


def trace_content(path: Path) -> Any:
    trace = Trace.load(path)
    answers = {
        node: [(name, str(values.dtype), values.tolist()) for name, values in kept]
        for node, kept in trace.answers.items()
    }
    return trace.about, answers, {name: column.tolist() for name, column in trace.columns().items()}


KINDS = {
    "model": (write_model, model_content),
    "checkpoint": (write_checkpoint, checkpoint_content),
    "trace": (write_trace, trace_content),
}


def flips(data: bytes, number: int, seed: str) -> Iterator[bytes]:
    """Yield data with one bit flipped: every bit of the first bytes, and some of all others."""
    source = random.Random(seed)
    bits = [*range(8 * 16), *(source.randrange(8 * len(data)) for _ in range(number))]
    for bit in bits:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_changes_what_is_read(kind: str, tmp_path: Path) -> None:
    write, content = KINDS[kind]
    path = tmp_path / kind
    write(path)
    expected, data = content(path), path.read_bytes()
    refused = 0
    for damaged in flips(data, 1000, kind):
        path.write_bytes(damaged)
        try:
            got = content(path)
        except DsgdError as error:
            assert str(path) in str(error)  # noqa: PT017  # most raise
            refused += 1
        else:
            assert got == expected
    assert refused > 1000


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_of_the_numbers_is_named_with_its_cure(kind: str, tmp_path: Path) -> None:
    write, content = KINDS[kind]
    path = tmp_path / kind
    write(path)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"it is damaged: .*; use another copy, or write it again") as caught:
        content(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_from_before_there_were_checksums_is_read(kind: str, tmp_path: Path) -> None:
    write, content = KINDS[kind]
    path = tmp_path / kind
    write(path)
    expected = content(path)
    with safetensors.safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if name != "crc32"}  # noqa: SIM118
        metadata = file.metadata()
        assert len(tensors) + 1 == len(list(file.keys()))
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    assert content(path) == expected


CONTENT: dict[str, np.ndarray] = {"a": np.arange(6.0).reshape(2, 3), "b": np.empty(0, np.uint8), "c": np.array(3)}


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({**CONTENT, "a": CONTENT["a"].reshape(3, 2)}, {"text": "ü"}),
        ({**CONTENT, "a": CONTENT["a"].astype(np.float32)}, {"text": "ü"}),
        ({**CONTENT, "c": np.array(4)}, {"text": "ü"}),
        ({**CONTENT, "d": np.empty(0)}, {"text": "ü"}),
        ({"a": CONTENT["a"], "c": CONTENT["c"]}, {"text": "ü"}),
        (CONTENT, {"text": "u"}),
        (CONTENT, {"text": "ü", "more": ""}),
        (CONTENT, {}),
    ],
)
def test_all_that_a_file_holds_counts(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    written = with_checksum(CONTENT, {"text": "ü"})
    assert checked(written, {"text": "ü"}).keys() == CONTENT.keys()
    with pytest.raises(DataError, match="it is damaged"):
        checked({**tensors, "crc32": written["crc32"]}, metadata)


def test_the_layout_of_an_array_does_not_count() -> None:
    array = np.arange(12.0).reshape(3, 4)
    one, other = (with_checksum({"a": each}, {})["crc32"] for each in (array, np.asfortranarray(array)))
    assert one == other


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_may_not_be_read_is_not_called_missing(kind: str, tmp_path: Path) -> None:
    write, content = KINDS[kind]
    path = tmp_path / kind
    write(path)
    path.chmod(0o000)
    with pytest.raises(PermissionError, match=str(path)):
        content(path)


@pytest.mark.parametrize("kind", ["checkpoint", "trace"])
def test_a_folder_is_no_file(kind: str, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        KINDS[kind][1](tmp_path)
