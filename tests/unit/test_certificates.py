"""TLS with certificates: who is served, whom clients and peers trust."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from network.certificates import Authority
from network.runs import TIMEOUT, Run, table

from dsgd import _core

HERE, ELSEWHERE = "127.0.0.1", "10.0.0.1"


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run()
    yield run
    run.stop()


def config(files: dict[str, str], *, check_host: bool = True) -> _core.TlsConfig:
    return _core.TlsConfig("certificates", **files, check_host=check_host)


def refused(run: Run, tls: _core.TlsConfig) -> bool:
    """Whether a client with these certificates is refused, or refuses the server."""
    client = run.client(0, [table()], join=False, tls=tls, deadline=2.0)
    return "certificate verify failed" in run.answer(client, "failed").message


def test_the_listeners_certificate_names_its_host_unless_that_is_not_checked(run: Run, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    worker = authority.sign("worker")
    for name, host in (("here", HERE), ("elsewhere", ELSEWHERE), ("nameless", None)):
        run.stop()
        run.servers.clear()
        run.server([table()], tls=config(authority.sign(name, host)))
        if host == HERE:
            run.client(0, [table()], tls=config(worker))
        else:
            assert refused(run, config(worker))
        run.client(0, [table()], tls=config(worker, check_host=False))


@pytest.mark.parametrize("check_host", [True, False])
def test_a_certificate_of_another_authority_is_refused(run: Run, tmp_path: Path, check_host: bool) -> None:
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    server, worker, stranger = ours.sign("server", HERE), ours.sign("worker"), others.sign("stranger", HERE)
    listener = run.server([table()], tls=config(server, check_host=check_host))
    assert refused(run, config(stranger, check_host=check_host))  # the client refuses the server
    misled = stranger | {"authority": worker["authority"]}  # it trusts the server, which does not trust it
    client = run.client(0, [table()], join=False, tls=config(misled, check_host=check_host), deadline=2.0)
    assert run.answer(client, "failed").name == "deadline"
    assert not listener.traffic
    run.client(0, [table()], tls=config(worker, check_host=check_host))


@pytest.mark.parametrize(("host", "check_host"), [(HERE, True), (None, False)])
def test_letters_go_by_certificates_too(run: Run, tmp_path: Path, host: str | None, check_host: bool) -> None:
    authority = Authority(tmp_path)
    files = [authority.sign(f"worker{rank}", host) for rank in range(2)]
    run.server([table()], n_workers=2, tls=config(authority.sign("server", host), check_host=check_host))
    one, other = (
        run.client(rank, [table()], listen=f"{HERE}:0", tls=config(files[rank], check_host=check_host))
        for rank in range(2)
    )
    for sender, peer, receiver in ((one, 1, other), (other, 0, one)):
        sender.send(peer, np.arange(3.0), name="hello")
        np.testing.assert_array_equal(run.answer(receiver, "letter").values, np.arange(3.0))
    # Who connects to a worker finds the worker's own certificate there.
    trusts = ssl.create_default_context(cafile=files[0]["authority"])
    trusts.check_hostname = False
    trusts.load_cert_chain(files[0]["certificate"], files[0]["key"])
    port = int(other.address.rpartition(":")[2])
    with socket.create_connection((HERE, port), TIMEOUT) as plain, trusts.wrap_socket(plain) as secured:
        assert secured.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(
            Path(files[1]["certificate"]).read_text()
        )
