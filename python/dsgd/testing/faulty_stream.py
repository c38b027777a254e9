"""The faults of a bad network in a stream of bytes, without any network."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

from dsgd._common.checks import check_real

__all__ = ["ENDINGS", "EVENTS", "Event", "FaultyStream", "NetworkFaults"]

Event = Literal["cut", "reset", "corrupt", "repeat", "repeat_frame"]
EVENTS: Final[tuple[Event, ...]] = get_args(Event)
ENDINGS: Final = ("cut", "reset")

# A frame of dsgd begins with a header.
_MAGIC = b"DSGD"  # first bytes of the header
_HEADER = 32  # bytes of the header
_LENGTH = slice(20, 24)  # place of the payload's length in the header, little-endian
_REPEATED = 64  # most bytes that one "repeat" sends again
_TURNS_A_SECOND = 20  # pieces per second of a stream of limited speed


@dataclass(frozen=True, kw_only=True)
class NetworkFaults:
    """The faults of one direction of a connection.

    The place of a fault is counted in bytes, so that it does not depend on the pieces in which they
    arrive. A distance "every n bytes" is drawn from the exponential distribution with mean n.

    Parameters
    ----------
    delay : float, default=0.0
        Seconds. Every piece that arrives waits for a time drawn uniformly from [0, delay]. Pieces
        keep their order.
    bytes_per_second : float, default=inf
        Highest throughput.
    cut_every : float, default=inf
        Mean bytes after which the connection is closed. Bytes from before still arrive.
    reset_every : float, default=inf
        Mean bytes after which the connection is reset: both sides get RST, and bytes on the way are
        lost.
    corrupt_every : float, default=inf
        Mean bytes from one flipped bit to the next.
    repeat_every : float, default=inf
        Mean bytes from one place to the next at which up to 64 bytes are sent twice.
    repeat_frames : float, default=0.0
        Probability that a whole frame is sent twice. Under TLS frames cannot be recognised.
    """

    delay: float = 0.0
    bytes_per_second: float = math.inf
    cut_every: float = math.inf
    reset_every: float = math.inf
    corrupt_every: float = math.inf
    repeat_every: float = math.inf
    repeat_frames: float = 0.0

    def __post_init__(self) -> None:
        check_real("delay", self.delay, 0)
        check_real("repeat_frames", self.repeat_frames, 0, 1)
        for name in ("bytes_per_second", "cut_every", "reset_every", "corrupt_every", "repeat_every"):
            if getattr(self, name) != math.inf:
                check_real(name, getattr(self, name), 0, low_open=True)


class FaultyStream:
    """One direction of one connection, with faults.

    Parameters
    ----------
    faults : NetworkFaults
    seed : str
    counts : Counter of str
        Counts the faults so far, by the names of `EVENTS`.
    """

    def __init__(self, faults: NetworkFaults, seed: str, counts: Counter[str]) -> None:
        # One generator for each use, so that no fault depends on the pieces in which bytes arrive.
        self._random, self._of_frames, self._of_time = (random.Random(f"{seed} {use}") for use in range(3))
        self._counts = counts
        self._passed = 0
        self._last = b""
        self._commands: list[tuple[int, Event]] = []  # a heap
        self._frames = _Frames(self._repeats)
        self._frames_wanted = 0
        self.faults = faults

    @property
    def faults(self) -> NetworkFaults:
        """The faults from now on."""
        return self._faults

    @faults.setter
    def faults(self, faults: NetworkFaults) -> None:
        self._faults = faults
        means: dict[Event, float] = {
            "cut": faults.cut_every,
            "reset": faults.reset_every,
            "corrupt": faults.corrupt_every,
            "repeat": faults.repeat_every,
        }
        self._every = {event: mean for event, mean in means.items() if mean != math.inf}
        self._plan = [(self._passed + self._distance(event), event) for event in self._every]
        heapq.heapify(self._plan)

    def strike(self, event: Event, after: int) -> None:
        """Make a fault happen once, after so many more bytes; to a frame, at the next one."""
        if event == "repeat_frame":
            self._frames_wanted += 1
        else:
            heapq.heappush(self._commands, (self._passed + after, event))

    def most(self) -> int:
        """Return how many bytes to take at once, so that a slow stream still moves."""
        return max(1, int(min(2**16, self._faults.bytes_per_second / _TURNS_A_SECOND)))

    def pause(self, n_bytes: int) -> float:
        """Return the seconds for which a piece of so many bytes waits."""
        return self._of_time.uniform(0, self._faults.delay) + n_bytes / self._faults.bytes_per_second

    def passed(self, data: bytes) -> Iterator[bytes | Event]:
        """Yield the bytes and faults that leave when `data` arrives; nothing follows an ending."""
        data = self._frames.passed(data)
        while (event := self._next_event(self._passed + len(data))) is not None:
            place, kind = event
            before, data = data[: place - self._passed], data[place - self._passed :]
            yield from self._plain(before)
            self._counts[kind] += 1
            if kind in ENDINGS:
                yield kind
                return
            if kind == "corrupt":
                yield from self._plain(bytes([data[0] ^ 1 << self._random.randrange(8)]))
                data = data[1:]
            else:
                yield self._last[-self._random.randint(1, _REPEATED) :]
        yield from self._plain(data)

    def _plain(self, data: bytes) -> Iterator[bytes]:
        if data:
            self._passed += len(data)
            self._last = (self._last + data[-_REPEATED:])[-_REPEATED:]
            yield data

    def _next_event(self, end: int) -> tuple[int, Event] | None:
        """Remove and return the first event before the byte `end`; plan a recurring event anew."""
        due = [heap for heap in (self._commands, self._plan) if heap and heap[0][0] < end]
        if not due:
            return None
        heap = min(due, key=lambda heap: heap[0][0])
        place, event = heapq.heappop(heap)
        if heap is self._plan:
            heapq.heappush(heap, (place + self._distance(event), event))
        return max(place, self._passed), event

    def _distance(self, event: Event) -> int:
        return 1 + int(self._random.expovariate(1 / self._every[event]))

    def _repeats(self) -> bool:
        """Return whether the next frame is sent twice."""
        wanted = self._frames_wanted > 0
        if wanted:
            self._frames_wanted -= 1
        elif self._of_frames.random() >= self._faults.repeat_frames:
            return False
        self._counts["repeat_frame"] += 1
        return True


class _Frames:
    """Finds the frames in a stream and repeats the chosen ones; other streams are not changed."""

    def __init__(self, repeats: Callable[[], bool]) -> None:
        self._repeats = repeats
        self._held = b""  # an incomplete header
        self._copy: bytearray | None = None
        self._left = 0  # bytes of the current frame that are still to come
        self._foreign = False

    def passed(self, data: bytes) -> bytes:
        if self._foreign:
            return data
        out, data, self._held = bytearray(), self._held + data, b""
        while data:
            if self._left == 0:
                if not _MAGIC.startswith(data[:4]) and not data.startswith(_MAGIC):
                    self._foreign = True
                    return bytes(out + data)
                if len(data) < _HEADER:
                    self._held = data
                    break
                self._left = _HEADER + int.from_bytes(data[_LENGTH], "little")
                self._copy = bytearray() if self._repeats() else None
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            out += piece
            if self._copy is not None:
                self._copy += piece
                if self._left == 0:
                    out += self._copy
        return bytes(out)
