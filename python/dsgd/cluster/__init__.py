"""Distributed algorithms as worker programs, and the clusters that run them."""

from __future__ import annotations

from dsgd.cluster.failures import SERVER, Crash, Delay, Duplication, Failure, Loss, Partition, Pause
from dsgd.cluster.local import LocalCluster
from dsgd.cluster.nodes import KernelCost
from dsgd.cluster.simulation import Simulation
from dsgd.cluster.trace import Kind, Trace

__all__ = [
    "SERVER",
    "Crash",
    "Delay",
    "Duplication",
    "Failure",
    "KernelCost",
    "Kind",
    "LocalCluster",
    "Loss",
    "Partition",
    "Pause",
    "Simulation",
    "Trace",
]
