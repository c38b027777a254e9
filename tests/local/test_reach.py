"""Processes that cannot reach each other are an error soon, with its cause."""

from __future__ import annotations

import functools
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from local.fits import local_fit

from dsgd.cluster.local import crew
from dsgd.cluster.local.crew import check_loopback
from dsgd.errors import ClusterError

FIT = """
import dsgd
X, y = dsgd.data.make_text_classification(300, random_state=0)
cluster = dsgd.LocalCluster(workers=2, join_deadline=10_000.0, heartbeat_deadline=10_000.0)
try:
    print(dsgd.fit(X, y, algo="ssp", loss="logistic", max_epochs=2, random_state=0, cluster=cluster).stop_reason)
except dsgd.errors.ClusterError as error:
    print(error)
"""


@functools.cache
def has_networks_of_its_own() -> bool:
    """Return whether a process may have a network of its own, whose loopback interface is down."""
    try:
        return subprocess.run(["unshare", "-rn", "true"], capture_output=True, timeout=60, check=False).returncode == 0
    except OSError:
        return False


def test_a_loopback_interface_that_is_down_is_named_at_once() -> None:
    if not has_networks_of_its_own():
        pytest.skip("unshare -rn is not permitted here")
    command = ["unshare", "-rn", sys.executable, "-c", FIT]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert process.stdout == (
        "the processes of a run reach each other over the loopback interface, at 127.0.0.1, and no connection can be "
        "made there: Network is unreachable; bring it up, as by `ip link set lo up`\n"
    ), process.stderr


def test_an_address_that_is_not_of_this_machine_is_no_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_HOST", "192.0.2.1")  # for documentation: nobody has it
    with pytest.raises(ClusterError, match=r"at 192\.0\.2\.1, and no connection can be made there: .*address"):
        local_fit()
    monkeypatch.undo()
    check_loopback(10.0)


class Nowhere:
    """Stands where a proxy does, and takes no connection."""

    def __init__(self, port: int) -> None:
        self._port = port

    def front(self, host: str, port: int, /) -> tuple[str, int]:
        return host, self._port


@pytest.fixture
def refusing() -> Iterator[int]:
    """Return a port that nobody listens on, and that nobody else gets."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_workers_that_reach_no_server_are_waited_for_until_the_join_deadline(refusing: int) -> None:
    cluster = {"join_deadline": 15.0, "heartbeat_deadline": 10_000.0, "restart_workers": 2}
    with pytest.raises(ClusterError, match="no worker has reached the servers through the proxy within 15 s; a larger"):
        local_fit({"proxy": Nowhere(refusing), **cluster})
