"""Who is lost, comes back or waits to join at the parameter server, between the all-reduces of the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
from perfect_links import Cluster

from dsgd import _core


def table() -> _core.TableSpec:
    return _core.TableSpec("w", 5)


def fall_silent(cluster: Cluster, *silent: int) -> None:
    """Let the server take workers for lost, while it hears of the others."""
    cluster.now += 6.0
    for worker, client in enumerate(cluster.clients):
        if worker not in silent:
            client.tick(cluster.now)
    cluster.run()
    cluster.now += 6.0
    cluster.deliver(0, cluster.servers[0].tick(cluster.now))
    lost = [member.worker for member in cluster.servers[0].members if member.status == "lost"]
    assert lost == list(silent)
    cluster.run()


def come_back(cluster: Cluster, worker: int) -> None:
    """Start a new process of a worker."""
    cluster.clients[worker] = _core.Client(cluster.now, worker, cluster.tables)
    cluster.answers[worker].clear()
    cluster.connect(worker)
    cluster.run()


@pytest.mark.parametrize("finished", [0, 1])
def test_who_comes_back_does_not_meet_the_others_between_two_all_reduces(finished: int) -> None:
    """In the first clock too, and where its loss both ends an all-reduce and moves the slowest clock."""
    cluster = Cluster([table()], 3, staleness=math.inf, heartbeat_deadline=10.0).connect_all()
    one, silent, two = cluster.clients
    for client in (one, two):
        for _ in range(finished):
            client.clock(0.0)
        cluster.run()
        client.all_reduce(0.0, np.ones(1))
    cluster.run()
    fall_silent(cluster, 1)
    assert [answer.values.tolist() for answer in cluster.taken(0, "all_reduce")] == [[2.0]]  # type: ignore[union-attr]
    come_back(cluster, 1)
    one.all_reduce(cluster.now, np.ones(2))  # the second one of this clock
    two.all_reduce(cluster.now, np.ones(2))
    cluster.run()
    assert [answer.values.tolist() for answer in cluster.taken(0, "all_reduce")] == [[2.0, 2.0]]  # type: ignore[union-attr]
    one.clock(cluster.now)
    cluster.run()
    assert not cluster.taken(1, "joined")
    two.clock(cluster.now)
    cluster.run()
    (joined,) = cluster.taken(1, "joined")
    assert joined.clock == finished + 1
    assert silent.own_clock == 0


def test_what_a_worker_gave_before_it_was_lost_is_not_a_contribution_of_its_next_life() -> None:
    cluster = Cluster([table()], 2, heartbeat_deadline=10.0).connect_all()
    cluster.clients[0].all_reduce(0.0, np.full(1, 5.0))
    cluster.run()
    fall_silent(cluster, 0, 1)
    for worker in (0, 1):
        come_back(cluster, worker)
    for client in cluster.clients:
        client.all_reduce(cluster.now, np.ones(1))
    cluster.run()
    for worker in (0, 1):
        assert [answer.values.tolist() for answer in cluster.taken(worker, "all_reduce")] == [[2.0]]  # type: ignore[union-attr]


def test_a_worker_that_waits_for_its_turn_to_join_knows_that_the_server_lives() -> None:
    cluster = Cluster([table()], 2, heartbeat_deadline=10.0).connect_all()
    for client in cluster.clients:
        client.all_reduce(0.0, np.ones(1))
    cluster.run()
    fall_silent(cluster, 1)
    come_back(cluster, 1)
    for _ in range(100):  # of 3 seconds, in a clock of the other one
        cluster.now += 3.0
        for client in cluster.clients:
            client.tick(cluster.now)
        cluster.run()
        cluster.deliver(0, cluster.servers[0].tick(cluster.now))
    assert not cluster.taken(1, "joined")
    assert not cluster.taken(1, "failed")
    cluster.clients[0].clock(cluster.now)
    cluster.run()
    assert len(cluster.taken(1, "joined")) == 1


@pytest.mark.parametrize("rule", ["average", "add_scaled"])
def test_what_a_worker_pushed_in_its_clock_counts_once_when_its_next_life_pushes_it_again(rule: str) -> None:
    tables = [_core.TableSpec("w", 2, dtype="float64", rule=rule)]
    cluster = Cluster(tables, 2, staleness=0).connect_all()
    for client, value in zip(cluster.clients, (4.0, 0.0), strict=True):
        client.push(0.0, "w", np.full(2, value))
    cluster.run()
    come_back(cluster, 0)
    cluster.clients[0].push(cluster.now, "w", np.full(2, 4.0))
    for client in cluster.clients:
        client.clock(cluster.now)
    cluster.run()
    cluster.clients[1].pull(cluster.now, 1, "w")
    cluster.run()
    (answer,) = cluster.taken(1, "pull")
    assert answer.values.tolist() == [2.0, 2.0]  # type: ignore[union-attr]
