"""Distributed algorithms as worker programs, and the clusters that run them."""

from __future__ import annotations

from dsgd.cluster.driver.options import RunOptions
from dsgd.cluster.local.config import LocalCluster
from dsgd.cluster.program.partition import ByLabel, Dirichlet, Given, Partition, Shares
from dsgd.cluster.runtime.trace import Kind, Trace
from dsgd.cluster.simulation.config import Simulation
from dsgd.cluster.simulation.failures import SERVER, Crash, Delay, Duplication, Failure, FrameLoss, NetworkSplit, Pause
from dsgd.cluster.simulation.nodes import KernelCost
from dsgd.results.averaging import Averaging

__all__ = [
    "SERVER",
    "Averaging",
    "ByLabel",
    "Crash",
    "Delay",
    "Dirichlet",
    "Duplication",
    "Failure",
    "FrameLoss",
    "Given",
    "KernelCost",
    "Kind",
    "LocalCluster",
    "NetworkSplit",
    "Partition",
    "Pause",
    "RunOptions",
    "Shares",
    "Simulation",
    "Trace",
]
