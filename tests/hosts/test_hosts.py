"""`dsgd server` and `dsgd worker`, each on a host of its own: slow, cut off, behind a firewall."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hosts.by_hand import ALGORITHMS, PORT, ByHand
from hosts.namespaces import Host

MakeHosts = Callable[[int], list[Host]]
# Round trips of 0.1 s: a run of 200 clocks cannot end before it is harmed, on the fastest machine.
ENDLESS = 50
FAR = 0.05
HEARTBEAT = 2.0


def harm_nothing(by_hand: ByHand) -> None:
    pass


def slow_link(by_hand: ByHand) -> None:
    by_hand.worker_hosts[1].slow_link(delay=0.02, rate=10e6)


def lossy_link(by_hand: ByHand) -> None:
    by_hand.server_host.slow_link(delay=0.001, loss=0.05)


def workers_that_nobody_can_dial(by_hand: ByHand) -> None:
    for host in by_hand.worker_hosts:
        host.close_inbound()


def one_open_port_in_all(by_hand: ByHand) -> None:
    workers_that_nobody_can_dial(by_hand)
    by_hand.server_host.close_inbound(but=[PORT])


@pytest.mark.parametrize(
    ("algo", "harm"),
    [
        *((algo, harm_nothing) for algo in ALGORITHMS),
        ("ssp", slow_link),
        ("dissvrg", lossy_link),
        ("ssp", workers_that_nobody_can_dial),
        ("sync", one_open_port_in_all),
    ],
)
def test_two_workers_that_started_first_have_the_bits_of_processes(
    algo: str, harm: Callable[[ByHand], None], hosts: MakeHosts, tmp_path: Path
) -> None:
    by_hand = ByHand(hosts(3), tmp_path, algo)
    harm(by_hand)
    workers = by_hand.start_workers()
    time.sleep(1.0)  # they dial in vain
    server = by_hand.start_server()
    for each in (server, *workers):
        each.succeeds()
    by_hand.check_bits()


def test_one_worker_that_started_last_has_the_bits_of_a_process(hosts: MakeHosts, tmp_path: Path) -> None:
    by_hand = ByHand(hosts(2), tmp_path)
    server = by_hand.start_server()
    time.sleep(1.0)
    worker = by_hand.start_worker(0)
    server.succeeds()
    worker.succeeds()
    by_hand.check_bits()


@pytest.mark.parametrize("on_lost", ["continue", "fail"])
def test_a_worker_whose_host_is_cut_off_is_named(on_lost: str, hosts: MakeHosts, tmp_path: Path) -> None:
    by_hand = ByHand(hosts(3), tmp_path, max_epochs=ENDLESS)
    lost = by_hand.worker_hosts[1]
    lost.slow_link(delay=FAR)
    server = by_hand.start_server("--heartbeat-deadline", HEARTBEAT, "--on-lost", on_lost, staleness=4)
    survivor, _ = by_hand.start_workers()
    server.wait_for("epoch +1/")
    lost.cut()
    code = server.exit_code()
    told = [line for line in server.said.splitlines() if "worker 1" in line and lost.address in line]
    assert told, server.said
    if on_lost == "continue":
        assert code == 0, server.said
        survivor.succeeds()
        assert told[0].startswith("dsgd: warning: ")
        assert np.isfinite(np.frombuffer(by_hand.weights())).all()
    else:
        assert code == 2, server.said
        assert told[-1].startswith("dsgd: error: ")
        assert not by_hand.model.exists()
        assert survivor.exit_code() != 0


def test_loopback_as_the_address_for_other_hosts_is_refused(hosts: MakeHosts, tmp_path: Path) -> None:
    by_hand = ByHand(hosts(2), tmp_path)
    server = by_hand.start_server("--advertise", "127.0.0.1")
    worker = by_hand.start_worker(0)
    assert worker.exit_code() == 2
    (told,) = [line for line in worker.said.splitlines() if line.startswith("dsgd: error: ")]
    assert "127.0.0.1" in told
    assert by_hand.server_host.address in told or by_hand.worker_hosts[0].address in told
    assert server.process.poll() in (None, 2)  # it waits for others, or gives up


def test_a_worker_with_another_token_is_refused_and_the_server_goes_on(hosts: MakeHosts, tmp_path: Path) -> None:
    by_hand = ByHand(hosts(2), tmp_path)
    by_hand.write_token(tmp_path / "other", "b" * 64)
    server = by_hand.start_server()
    stranger = by_hand.start_worker(0, token=tmp_path / "other")
    assert stranger.exit_code() == 2
    assert "token" in stranger.said
    assert server.process.poll() is None
    by_hand.start_worker(0).succeeds()
    server.succeeds()
    by_hand.check_bits()


def test_a_server_that_was_killed_goes_on_from_its_checkpoint_with_the_same_bits(
    hosts: MakeHosts, tmp_path: Path
) -> None:
    by_hand = ByHand(hosts(3), tmp_path, max_epochs=ENDLESS)
    by_hand.worker_hosts[0].slow_link(delay=FAR)
    saves = ("--checkpoint", by_hand.checkpoint, "--checkpoint-every", 4)
    first = [by_hand.start_server(*saves), *by_hand.start_workers()]
    first[0].wait_for("epoch +3/")
    for each in first:
        each.process.kill()
    assert first[0].exit_code() == -9
    assert by_hand.checkpoint.exists()
    assert not by_hand.model.exists()
    by_hand.worker_hosts[0].slow_link()
    again = [by_hand.start_server(*saves, "--resume", by_hand.checkpoint), *by_hand.start_workers()]
    for each in again:
        each.succeeds()
    by_hand.check_bits()


def test_a_worker_of_another_world_is_refused_at_once(hosts: MakeHosts, tmp_path: Path) -> None:
    by_hand = ByHand(hosts(2), tmp_path)
    server = by_hand.start_server()
    by_hand.worker_hosts.append(by_hand.worker_hosts[0])
    by_hand.world = 2  # the server waits for one worker
    stranger = by_hand.start_worker(1)
    assert stranger.exit_code() == 2
    assert "1 workers" in stranger.said
    by_hand.start_worker(0).succeeds()
    server.succeeds()


def test_a_killed_worker_that_is_started_again_ends_with_the_same_bits(hosts: MakeHosts, tmp_path: Path) -> None:
    by_hand = ByHand(hosts(3), tmp_path, max_epochs=ENDLESS)
    by_hand.worker_hosts[0].slow_link(delay=FAR)
    server = by_hand.start_server("--restart-workers", 1)
    survivor, killed = by_hand.start_workers()
    server.wait_for("epoch +3/")
    killed.process.kill()
    again = by_hand.start_worker(1)
    by_hand.worker_hosts[0].slow_link()
    for each in (server, survivor, again):
        each.succeeds()
    by_hand.check_bits()
