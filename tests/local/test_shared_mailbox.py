"""Mailboxes in memory that processes share: what is read is what was sent, whoever is killed meanwhile."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from dsgd import _core
from dsgd.errors import ConfigError

SHAPE = {"n_ranks": 3, "slots": 1, "capacity": 2**20}


@pytest.fixture
def descriptor() -> Iterator[int]:
    """Memory for the mailboxes, as a file without a name."""
    number = os.memfd_create("dsgd-test")
    os.ftruncate(number, _core.SharedMailbox.bytes_for(**SHAPE))
    yield number
    os.close(number)


def mailbox_of(rank: int, descriptor: int) -> _core.SharedMailbox:
    return _core.SharedMailbox(mmap.mmap(descriptor, 0), rank=rank, **SHAPE)


def run_process(code: str, descriptor: int) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, in which `box(rank)` is the mailbox of a rank."""
    start = f"""
import functools, os, signal
import numpy as np
from local.test_shared_mailbox import mailbox_of
box = functools.partial(mailbox_of, descriptor={descriptor})
"""
    return subprocess.run(
        [sys.executable, "-c", start + code],
        pass_fds=[descriptor], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def test_letters_of_another_process_arrive_as_they_were_sent(descriptor: int) -> None:
    other = run_process(
        """
sender = box(1)
assert sender.put(0, np.arange(5.0), name="old")
assert sender.put(0, np.arange(3, dtype=np.float32), np.array([2, 5, 9], np.uint64), "rows")
assert sender.put(0, np.ones(2), name="old")
assert not sender.put(0, np.ones(2**20))
""",
        descriptor,
    )
    assert other.returncode == 0, other.stderr
    box = mailbox_of(0, descriptor)
    assert not box.empty
    rows, old = box.drain()
    assert (rows[0], rows[3], rows[4], old[0], old[3], old[4]) == (1, "rows", 2, 1, "old", 3)
    assert rows[1].dtype == np.float32
    assert rows[1].tolist() == [0, 1, 2]
    assert rows[2] is not None
    assert rows[2].tolist() == [2, 5, 9]
    assert old[1].tolist() == [1, 1]
    assert old[2] is None
    assert box.empty


def test_a_mailbox_collects_what_came_on_both_ways(descriptor: int) -> None:
    box, plain = mailbox_of(0, descriptor), _core.Mailbox(slots=1, on_full="overwrite")
    plain.put(1, np.zeros(1), number=7)
    mailbox_of(1, descriptor).put(0, np.ones(2), np.array([3, 4], np.uint64))
    box.drain_to(plain)
    sender, values, keys, name, number = plain.drain()[0]
    assert keys is not None
    assert (sender, values.tolist(), keys.tolist(), name, number) == (1, [1, 1], [3, 4], "", 1)
    assert plain.empty
    assert box.empty


def test_what_cannot_be_is_refused(descriptor: int) -> None:
    memory = mmap.mmap(descriptor, 0)
    with pytest.raises(ConfigError, match="rank 3 is not one of 3"):
        _core.SharedMailbox(memory, rank=3, **SHAPE)
    with pytest.raises(ConfigError, match=r"needs .* bytes, aligned to 8"):
        _core.SharedMailbox(bytearray(100), rank=0, **SHAPE)
    with pytest.raises(ConfigError, match="at least 1 slot"):
        _core.SharedMailbox.bytes_for(n_ranks=1, slots=0, capacity=8)
    box = _core.SharedMailbox(memory, rank=0, **SHAPE)
    with pytest.raises(ConfigError, match="rank 3 has no mailbox"):
        box.put(3, np.ones(1))
    with pytest.raises(ConfigError, match="values has dtype int64"):
        box.put(0, np.ones(1, np.int64))
    with pytest.raises(BufferError):
        memory.close()  # the mailbox lies in it


def test_a_writer_that_is_killed_in_mid_write_blocks_nobody_for_long(descriptor: int) -> None:
    box, other = mailbox_of(0, descriptor), mailbox_of(2, descriptor)
    other.put(0, np.full(1000, 1.0))
    victim = run_process("box(1).put_half(0, np.full(1000, 2.0)); os.kill(os.getpid(), signal.SIGKILL)", descriptor)
    assert victim.returncode < 0
    other.put(0, np.full(1000, 3.0))  # the victim may still write, for all that is known here
    assert [np.unique(letter[1]).tolist() for letter in box.drain()] == [[1.0]]
    box.end_life(1)
    other.put(0, np.full(1000, 4.0))
    assert [np.unique(letter[1]).tolist() for letter in box.drain()] == [[4.0]]
    assert mailbox_of(1, descriptor).life == 1


def test_writers_that_are_killed_at_any_moment_leave_whole_letters_only(descriptor: int) -> None:
    """A process kills its children, which write without a pause, until ten of them have left a claim."""
    result = run_process(
        """
own, other = box(0), box(2)
def write():
    sender, number = box(1), 0
    while True:
        number += 1
        sender.put(0, np.full(2**17 - number % 2, float(number)))
def check(letters):
    for sender, values, keys, name, number in letters:
        assert (values == number).all() and len(values) == 2**17 - number % 2, (sender, number, np.unique(values))
    return len(letters)
random, claims, read, deaths = np.random.default_rng(0), 0, 0, 0
while claims < 10:
    child = os.fork()
    if child == 0:
        write()
    wanted = read + int(random.integers(1, 10))
    while read < wanted:
        read += check(own.drain())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    deaths += 1
    read += check(own.drain())
    other.put(0, np.ones(3))
    claims += not own.drain()  # the letter was given up: the child was killed while it wrote
    own.end_life(1)
    other.put(0, np.ones(3))
    assert [letter[0] for letter in own.drain()] == [2]
print(claims, deaths, read)
""",
        descriptor,
    )
    assert result.returncode == 0, result.stderr
    claims, deaths, read = map(int, result.stdout.split())
    assert claims == 10
    assert deaths <= read


def test_letters_that_replace_unread_ones_or_are_given_up_are_counted(descriptor: int) -> None:
    box, sender, other = (mailbox_of(rank, descriptor) for rank in (0, 1, 2))
    for _ in range(3):
        sender.put(0, np.ones(2))
    assert (sender.overwritten, other.overwritten, box.overwritten) == (2, 0, 0)
    other.put(0, np.ones(2))  # all ranks have the one slot
    assert (sender.overwritten, other.overwritten) == (2, 1)
    assert len(box.drain()) == 1
    sender.put(0, np.ones(2))
    sender.put(0, np.ones(2), name="in another place")
    assert sender.overwritten == 2
    assert len(box.drain()) == 2
    assert sender.put_half(0, np.ones(2))
    other.put(0, np.ones(2))  # cannot be written
    assert (sender.overwritten, other.overwritten) == (2, 2)
    assert (sender.torn, other.torn, box.torn) == (0, 0, 0)


@pytest.mark.parametrize("accept", [False, True])
def test_letters_that_are_overwritten_while_they_are_read_are_read_again_or_taken(
    accept: bool, descriptor: int
) -> None:
    """A process writes letters of one number each without a pause, until one of another number was read."""
    result = run_process(
        f"""
accept, own, torn, whole = {accept}, box(0), 0, 0
if accept:
    own.accept_torn()
child = os.fork()
if child == 0:
    sender, number = box(1), 0
    while True:
        number += 1
        sender.put(0, np.full(2**17, float(number)))
try:
    while (torn if accept else own.torn) < 3 or whole < 3:
        for _, values, *_ in own.drain():
            assert len(values) == 2**17
            torn += values[0] != values[-1]
            whole += (values == values[0]).all()
            assert accept or (values == values[0]).all()
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(torn, own.torn)
""",
        descriptor,
    )
    assert result.returncode == 0, result.stderr
    torn, counted = map(int, result.stdout.split())
    assert torn <= counted
    assert (torn > 0) == accept
