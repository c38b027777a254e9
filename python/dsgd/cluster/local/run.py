"""One run on a local cluster."""

from __future__ import annotations

from collections.abc import Sequence

from dsgd.cluster.driver.supervision import SupervisedRun
from dsgd.cluster.local.config import LocalCluster
from dsgd.cluster.local.crew import LocalCrew
from dsgd.cluster.runtime.run_spec import OnClock, RunSpec

__all__ = ["LocalRun"]


class LocalRun(SupervisedRun):
    """A run on processes of this machine; for the parameters see `SupervisedRun`."""

    def __init__(
        self, config: LocalCluster, assignment: RunSpec, on_clock: OnClock | None = None, notices: Sequence[int] = ()
    ) -> None:
        super().__init__(config, assignment, lambda: LocalCrew(config, assignment, notices), on_clock, notices)
