"""A local cluster reaches its servers through a proxy."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from cluster.exact import EXACT, X, Y, change_of_a_pass
from local.fits import local_fit, simulated_fit
from local.programs import MortalPeers

from dsgd.algorithms import DisSvrg, MapReduce, P2p, Ssp, Sync
from dsgd.testing import NetworkFaults, Proxy

BAD = NetworkFaults(delay=0.001, cut_every=20_000, reset_every=20_000, corrupt_every=20_000, repeat_frames=0.1)


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (Ssp(staleness=0), {"servers": 2}),
        (DisSvrg(staleness=0), {}),
        (Sync(batch_size=20), {}),
        (MapReduce(), {}),
    ],
    ids=["ssp", "dissvrg", "sync", "map-reduce"],
)
def test_a_barrier_run_through_a_bad_network_gives_the_same_bits(algorithm: Any, options: dict[str, Any]) -> None:
    with Proxy(to_server=BAD, to_client=BAD, seed=1) as proxy:
        result = local_fit({"proxy": proxy, "payload_checksum": True, **options}, algo=algorithm, max_epochs=10)
        deadline = time.monotonic() + 10
        while proxy.connections > 0:  # the proxy may not have heard yet of the last end
            assert time.monotonic() < deadline
            time.sleep(0.01)
        nodes = 2 + int(algorithm.has_coordinator)
        assert proxy.counts["connections"] > nodes * options.get("servers", 1)  # some came again
        assert sum(proxy.counts[event] for event in ("cut", "reset", "corrupt")) > 0
    expected = simulated_fit(2, algo=algorithm, max_epochs=10)
    assert np.array_equal(result.model.weights, expected.model.weights)


def test_under_tls_no_frame_can_be_seen_on_the_way() -> None:
    """The proxy repeats whole frames where it can tell them: of an encrypted run it finds none."""
    seen = {}
    for tls in (False, True):
        with Proxy(to_server=NetworkFaults(repeat_frames=1.0 if tls else 0.1), seed=1) as proxy:
            local_fit({"proxy": proxy, "tls": tls}, algo=Ssp(staleness=0), max_epochs=10)
            seen[tls] = proxy.counts["repeat_frame"]
    assert seen[False] > 0
    assert seen[True] == 0


def test_through_a_bad_network_all_changes_of_peers_reach_the_server_once() -> None:
    faults = NetworkFaults(cut_every=5_000, reset_every=5_000, corrupt_every=5_000, repeat_frames=0.1)
    with Proxy(to_server=faults, to_client=faults, seed=1) as proxy:
        options: dict[str, Any] = {"algo": P2p(send_every=10, max_wait=0.5), "max_epochs": 30, **EXACT, "alpha": 0.0}
        result = local_fit({"proxy": proxy, "payload_checksum": True}, data=(X, Y), **options)
        assert sum(proxy.counts[event] for event in ("cut", "reset", "corrupt")) > 0
    assert np.array_equal(result.model.weights[0], 30 * change_of_a_pass(range(2), 2))


def test_all_peers_end_with_the_sum_of_all_changes_when_one_is_lost_and_one_joins_again() -> None:
    """A pass whose worker was killed behind its push is made again. The objectives tell that all have these weights."""
    faults = NetworkFaults(cut_every=5_000, reset_every=5_000, corrupt_every=5_000, repeat_frames=0.1)
    algorithm = MortalPeers(send_every=10, max_wait=0.2)
    options: dict[str, Any] = {"algo": algorithm, "max_epochs": 30, **EXACT, "alpha": 0.0, "eval_set": (X, Y)}
    with Proxy(to_server=faults, to_client=faults, seed=1) as proxy:
        given = {"workers": 4, "proxy": proxy, "payload_checksum": True, "restart_workers": 1, "heartbeat_deadline": 2}
        with pytest.warns(RuntimeWarning, match="worker 2 was killed by SIGKILL; the others go on"):
            result = local_fit(given, data=(X, Y), **options)
        assert sum(proxy.counts[event] for event in ("cut", "reset", "corrupt")) > 0
    weights, counts = result.model.weights[0], result.history[-1].counts
    sums = [
        30 * change_of_a_pass([0, 3]) + again * change_of_a_pass([1]) + before * change_of_a_pass([2])
        for again in (30, 31)
        for before in range(2 * algorithm.at - 1)
    ]
    assert sum(np.array_equal(weights, each) for each in sums) == 1
    assert counts is not None
    first, joined, lost, last = counts["held_out"]
    assert first == joined == last == pytest.approx(np.maximum(0, 1 - Y * (X @ weights)).mean(), rel=1e-12)
    assert lost is None
