"""A recorded run once more: the programs of its workers on the answers that they had, and the server in simulation."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from perfect_links import Cluster

from dsgd.cluster import Trace
from dsgd.cluster.program.commands import EVERYONE, Clock, Program, Push
from dsgd.cluster.runtime.replay import replay
from dsgd.cluster.runtime.run_spec import RunSpec

__all__ = ["replayed"]


def replayed(spec: RunSpec, trace: Trace) -> tuple[int, Any]:
    """Return how many commands were replayed, and the weights of a server that takes them in the order of the trace.

    Parameters
    ----------
    spec : RunSpec
        With the rows of all workers; they pull, push and finish their clocks, and do nothing else.
    trace : Trace
        With the answers of one shard and its workers.
    """
    everyone = tuple(range(spec.n_nodes))
    operations: list[deque[Push | Clock]] = [deque() for _ in everyone]

    def start(node: int, clock: int, saved: bytes) -> Program:
        about: dict[str, Any] = {"start_clock": clock, "saved": saved, "now": time.monotonic, "chunk_rows": 4096}
        task = spec.task(spec.kernels(node), node, groups={EVERYONE: everyone}, **about)
        program, answer = spec.program(task), None
        while True:
            try:
                command = program.send(answer)
            except StopIteration:
                return
            if isinstance(command, Push | Clock):
                operations[node].append(command)
            answer = yield command

    n_commands = replay(trace, start)
    return n_commands, _weights_of(spec, operations, trace.orders[0])


def _weights_of(spec: RunSpec, operations: list[deque[Push | Clock]], order: Any) -> Any:
    """Return what the operations make of the weights in that order."""
    cluster = Cluster(spec.table_specs(), len(operations), staleness=spec.algorithm.clock_bound)
    cluster.servers[0].assign("weights", spec.start)
    cluster.connect_all()
    for rank in order:
        client, own = cluster.clients[rank], operations[rank]
        operation = own.popleft() if own else None
        if isinstance(operation, Push):
            client.push(0.0, operation.table, operation.delta, operation.keys, operation.weight)
        elif operation is not None:
            client.clock(0.0)
        else:
            client.leave(0.0)
        cluster.run()
    return cluster.servers[0].snapshot("weights")
