"""`serve_node`: a node where rows lie. It answers the driver's questions about them, and trains on them."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.cluster.driver.channel import Channel, ChannelMessage
from dsgd.cluster.driver.reports import TallySender
from dsgd.cluster.program.groups import GroupMembers
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.remote.dial import Dialled, dial
from dsgd.cluster.remote.endings import ends_with_the_process
from dsgd.cluster.remote.handshake import Certificates
from dsgd.cluster.remote.messages import content_of, send
from dsgd.cluster.runtime.run_spec import Plan
from dsgd.cluster.tcp.worker import WorkerSpec, run_worker
from dsgd.errors import ClusterError, DeadlineError, DsgdError
from dsgd.fitting.worker_rows import NodeFacts, Place, ProblemTerms, WorkerRows
from dsgd.models import MODELS
from dsgd.models.scores import Score

__all__ = ["Orders", "dialled", "serve_node"]

_LOG = logging.getLogger("dsgd")
_TICK = 0.25  # seconds between two looks at whether the node is to stop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Orders:
    """What a node is told of a run, but for its own rows.

    Attributes
    ----------
    plan, groups, notices, speed, trace, record_answers, client
        See `WorkerSpec`.
    node : int
        The node that it is in the run.
    role : str
        What it calls itself at the gate: no order has the role of an earlier one.
    tables : list of dict
        The parameters of every `_core.TableSpec`.
    terms : ProblemTerms
    of_whole, start
        See `Kernels`.
    join_deadline : float
        Seconds within which the servers must listen.
    """

    plan: Plan
    node: int
    role: str
    groups: list[GroupMembers]
    tables: list[dict[str, Any]]
    notices: list[int]
    speed: float
    trace: bool
    record_answers: bool
    client: dict[str, Any]
    terms: ProblemTerms
    of_whole: dict[str, NDArray[Any]]
    start: NDArray[Any]
    join_deadline: float


class GateAddress(NamedTuple):
    """Where and how a node dials."""

    address: tuple[str, int]
    token: bytes
    tls: Certificates | None
    patience: float


def serve_node(
    address: tuple[str, int],
    rows: WorkerRows,
    *,
    rank: int,
    token: bytes,
    eval_rows: WorkerRows | None = None,
    whole: bool = False,
    index_base: str | None = None,
    tls: Certificates | None = None,
    n_threads: int = 1,
    patience: float = 60.0,
) -> None:
    """Serve the rows of one node until the driver ends the run.

    Parameters
    ----------
    address : tuple (str, int)
        Host and port of the driver's gate.
    rows : WorkerRows
    rank : int
        Number of the node among those that have rows.
    token : bytes
        The secret of the run.
    eval_rows : WorkerRows, optional
        Rows to score the model on.
    whole, index_base
        See `NodeFacts`.
    tls : Certificates, optional
    n_threads : int
    patience : float
        Seconds within which the driver must let this node in.

    Raises
    ------
    AuthenticationError, ClusterError
        If the driver does not let this node in, or leaves in the middle of a run.
    Exception
        The error of the training, of which the driver was told as well.
    """
    gate = GateAddress(address, token, tls, patience)
    entered = dial(address, "rows", rank, token, tls=tls, patience=patience)
    channel = entered.channel
    node = _Node(entered, gate, rows, eval_rows, (whole, index_base), n_threads)
    try:
        with node.heard():
            node.serve()
    finally:
        node.end()
        channel.close()


class _Node:
    """Answers one message after the other; a run goes on in a thread of its own."""

    def __init__(
        self,
        entered: Dialled,
        gate: GateAddress,
        rows: WorkerRows,
        eval_rows: WorkerRows | None,
        about: tuple[bool, str | None],
        n_threads: int,
    ) -> None:
        self._channel, self._here, self._beat = entered
        self._gate = gate
        self._sending = threading.Lock()
        self._rows, self._eval_rows, self._threads = rows, eval_rows, n_threads
        self._whole, self._index_base = about
        self._running: threading.Thread | None = None
        self._stop = threading.Event()
        self._answers: dict[str, Callable[..., Any]] = {
            "facts": self._facts,
            "place": self._place,
            "counts": lambda loss: self._rows.class_counts(loss),
            "weigh": self._weigh,
            "summary": lambda *told: self._rows.summary(*told),
            "loss": lambda *told: self._rows.loss(*told, n_threads=n_threads),
            "score": self._score,
            "work": self._work,
        }

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Let the driver hear of this node within the ``with`` block, also while it computes an answer."""
        ended = threading.Event()

        def beat() -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(self._beat):
                    with self._sending:
                        self._channel.send("alive")

        threading.Thread(target=beat, name="dsgd-beat", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def serve(self) -> None:
        """Answer until the driver says that this is the end."""
        while True:
            try:
                message = self._channel.receive(None)
            except EOFError:
                raise ClusterError("the driver has ended without a word") from None
            if message.kind == "end":
                if message.fields["why"]:
                    raise ClusterError(f"the run failed: {message.fields['why']}")
                return
            self._answer(message)

    def end(self) -> None:
        """Stop the training, and wait until its thread has ended."""
        self._stop.set()
        if self._running is not None:
            self._running.join()

    def _answer(self, message: ChannelMessage) -> None:
        """Answer a question. If the driver has gone meanwhile, its last word is what `serve` receives next."""
        try:
            found = self._answers[message.kind](*content_of(message))
        except Exception as error:
            _LOG.exception("%s failed", message.kind)
            with contextlib.suppress(OSError), self._sending:
                self._channel.send_error(error)
            return
        if message.fields["answers"]:
            with contextlib.suppress(OSError), self._sending:
                send(self._channel, "answer", found)

    def _facts(self) -> NodeFacts:
        return NodeFacts(self._rows.n_rows, self._rows.n_features, self._whole, self._index_base)

    def _place(self, place: Place) -> dict[int, int]:
        """Take the place of the rows; return how many each client of this node has."""
        self._rows = self._rows.placed(place)
        if self._eval_rows is not None:
            self._eval_rows = self._eval_rows.placed(place._replace(first=0, partition=None, n_clients=0))
        of = self._rows.client_of
        if of is None:
            return {place.rank: self._rows.n_rows}
        return dict(zip(*(each.tolist() for each in np.unique(of, return_counts=True)), strict=True))

    def _weigh(self, classes: NDArray[Any], factors: NDArray[np.float64]) -> None:
        self._rows = self._rows.weighed(classes, factors)

    def _score(self, terms: ProblemTerms, weights: NDArray[Any]) -> Score | None:
        """Return the score on the rows to score on; None without any."""
        if self._eval_rows is None or self._eval_rows.n_rows == 0:
            return None
        model = MODELS[terms.loss.model].untrained(weights, terms.loss, terms.classes, terms.fit_intercept)
        return self._eval_rows.score(model, self._threads)

    def _work(self, orders: Orders) -> None:
        """Begin a run, in the place of one before."""
        self.end()
        self._stop = threading.Event()
        kernels = Kernels(
            self._rows.problem(orders.terms, self._threads),
            orders.of_whole,
            self._threads,
            orders.start,
            self._rows.client_of,
        )
        self._running = threading.Thread(
            target=run_node, args=(self._gate, orders, kernels, self._here, self._stop), name="dsgd-worker", daemon=True
        )
        self._running.start()


def dialled(addresses: Mapping[str, Sequence[Sequence[Any]]], host: str) -> dict[str, list[tuple[str, int]]]:
    """Return the addresses of the servers by group; where none was told it is the host that this node has dialled."""
    return {group: [(told or host, port) for told, port in shards] for group, shards in addresses.items()}


def _addresses(channel: Channel, seconds: float, stop: threading.Event) -> Any:
    """Return the addresses of the servers once they listen; the node may be told to stop before."""
    end = time.monotonic() + seconds
    while not stop.is_set():
        with contextlib.suppress(DeadlineError):
            return channel.receive(_TICK).fields["addresses"]
        if time.monotonic() > end:
            raise DeadlineError(f"the servers do not listen after {seconds:g} s")
    raise ClusterError("told to stop before the servers listened")


def run_node(gate: GateAddress, orders: Orders, kernels: Kernels, here: str, stop: threading.Event) -> None:
    """Run one node of a run, and tell the driver of its progress or its error.

    Parameters
    ----------
    gate : GateAddress
    orders : Orders
    kernels : Kernels
    here : str
        The address of this host at which the node is reached.
    stop : threading.Event
        Ends the node.
    """
    try:
        dialled_gate = dial(gate.address, orders.role, orders.node, gate.token, tls=gate.tls, patience=gate.patience)
    except DsgdError:
        _LOG.exception("worker %d", orders.node)
        return
    channel = dialled_gate.channel
    try:
        addresses = _addresses(channel, orders.join_deadline, stop)
        channel.send("ready")
        spec = WorkerSpec(
            plan=orders.plan,
            tables=[_core.TableSpec(**table) for table in orders.tables],
            node=orders.node,
            groups=orders.groups,
            addresses=dialled(addresses, gate.address[0]),
            token=gate.token,
            tls=None if gate.tls is None else gate.tls.of_core(),
            bind=here,
            speed=orders.speed,
            notices=orders.notices,
            trace=orders.trace,
            record_answers=orders.record_answers,
            client=orders.client,
            stopped=stop.is_set,
        )
        with ends_with_the_process(stop.set):
            run_worker(spec, kernels, TallySender(channel))
    except (EOFError, BrokenPipeError, ConnectionError):
        _LOG.info("the driver of worker %d is gone", orders.node)
    except BaseException as error:
        if not stop.is_set():
            _LOG.exception("worker %d failed", orders.node)
            with contextlib.suppress(OSError):
                channel.send_error(error)
    finally:
        channel.close()
