"""What a bad network does to a stream of bytes, without any network."""

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

_MAGIC = b"DSGD"
_HEADER = 32
_LENGTH = slice(20, 24)
_REPEATED = 64
_TURNS_A_SECOND = 20


@dataclass(frozen=True, kw_only=True)
class NetworkFaults:
    """What happens to the bytes that go one way over a connection.

    Where a fault strikes is counted in bytes, and does not depend on the pieces in which they arrive: a distance "every
    n bytes" is drawn from the exponential distribution of mean n.

    Parameters
    ----------
    delay : float, default=0.0
        Seconds; every piece that arrives waits up to so long, all lengths being alike probable. None overtakes another.
    bytes_per_second : float, default=inf
        Let through at most.
    cut_every : float, default=inf
        Bytes from one end of the connection to the next: what came before still arrives.
    reset_every : float, default=inf
        Likewise, but both sides are told by RST, and what was on the way is lost.
    corrupt_every : float, default=inf
        Bytes from one flipped bit to the next.
    repeat_every : float, default=inf
        Bytes from one place to the next where up to 64 bytes are sent twice.
    repeat_frames : float, default=0.0
        Probability that a whole frame is sent twice. Frames are not seen under TLS.
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
    """The bytes that go one way over one connection, and what becomes of them.

    Parameters
    ----------
    faults : NetworkFaults
    seed : str
    counts : Counter of str
        Gets what has happened, by the names of `EVENTS`.
    """

    def __init__(self, faults: NetworkFaults, seed: str, counts: Counter[str]) -> None:
        # One each, so that none depends on the pieces in which bytes arrive.
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
        """What happens from here on."""
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
        """Let something happen once, after so many more bytes; to a frame: to the next."""
        if event == "repeat_frame":
            self._frames_wanted += 1
        else:
            heapq.heappush(self._commands, (self._passed + after, event))

    def most(self) -> int:
        """Return how many bytes to take at once, so that a slow stream still moves."""
        return max(1, int(min(2**16, self._faults.bytes_per_second / _TURNS_A_SECOND)))

    def pause(self, n_bytes: int) -> float:
        """Return the seconds that so many bytes wait."""
        return self._of_time.uniform(0, self._faults.delay) + n_bytes / self._faults.bytes_per_second

    def passed(self, data: bytes) -> Iterator[bytes | Event]:
        """Yield what leaves when these bytes arrive; after one of `ENDINGS` nothing does."""
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
        """Take the first event before the byte `end`; one that recurs is planned anew."""
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
    """Finds the frames in a stream, and repeats those it is told to; other streams pass as they are."""

    def __init__(self, repeats: Callable[[], bool]) -> None:
        self._repeats = repeats
        self._held = b""  # the beginning of a header
        self._copy: bytearray | None = None
        self._left = 0  # bytes of the frame that is passing
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
