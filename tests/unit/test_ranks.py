from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dsgd.cluster.remote.ranks import _check_mode, rank_and_world, read_token, write_token
from dsgd.errors import ConfigError

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
SLURM = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"DSGD_RANK": "1", "DSGD_WORLD": "4"}, (1, 4)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "3"}, (1, 3)),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3"}, (2, 3)),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, (0, 1)),
        ({"JOB_COMPLETION_INDEX": "5", "REPLICAS": "6"}, (5, 6)),
        ({"POD_INDEX": "5", "DSGD_WORLD": "6"}, (5, 6)),
        ({"POD_NAME": "dsgd-worker-13", "REPLICAS": "14"}, (13, 14)),
        ({"HOSTNAME": "dsgd-worker-3", "REPLICAS": "4", **POD}, (3, 4)),
        ({"HOSTNAME": "dsgd-worker-3.workers.svc", "REPLICAS": "4", **POD}, (3, 4)),
        # mpirun within a job of Slurm, whose numbers are those of the daemons
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", **SLURM}, (3, 4)),
        ({"DSGD_RANK": "4", "DSGD_WORLD": "5", "PMI_RANK": "0", "PMI_SIZE": "2", **SLURM}, (4, 5)),
        ({"DSGD_RANK": "1", **SLURM}, (1, 2)),
        ({"DSGD_RANK": "", "DSGD_WORLD": " ", **SLURM}, (0, 2)),
    ],
)
def test_the_environment_says_who_a_process_is(environ: dict[str, str], expected: tuple[int, int]) -> None:
    assert rank_and_world(None, None, environ) == expected


def test_what_is_given_wins() -> None:
    assert rank_and_world(5, 6, SLURM) == (5, 6)
    assert rank_and_world(1, None, SLURM) == (1, 2)
    assert rank_and_world(None, 9, SLURM) == (0, 9)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "no rank: give --rank, .*DSGD_RANK, OMPI_COMM_WORLD_RANK, PMI_RANK, SLURM_PROCID, JOB_COMPLETION_INDEX, "),
        ({"HOSTNAME": "gpu-3", "REPLICAS": "4"}, "no rank"),  # a host, not a pod
        ({"HOSTNAME": "web-7d9f-x2x4z", **POD}, "no rank"),
        ({"POD_NAME": "web-x2x4z"}, "POD_NAME must end in the ordinal of the pod, .*not be 'web-x2x4z'"),
        ({"SLURM_PROCID": "one"}, "SLURM_PROCID must be an integer of at least 0, not 'one'"),
        ({"PMI_RANK": "-1"}, "PMI_RANK must be an integer of at least 0, not '-1'"),
        ({"DSGD_RANK": "0", "DSGD_WORLD": "0"}, "DSGD_WORLD must be an integer of at least 1, not '0'"),
        ({"PMI_RANK": "2", "PMI_SIZE": "2"}, "PMI_RANK is 2, but PMI_SIZE says 2 workers; ranks count from 0 to 1"),
        ({"POD_NAME": "w-5", "DSGD_WORLD": "3"}, "POD_NAME is 5, but DSGD_WORLD says 3"),
        ({"POD_INDEX": "5"}, "POD_INDEX says that this is worker 5, .*--world, or set DSGD_WORLD or REPLICAS"),
        # the number of another launcher does not count
        ({"PMI_RANK": "0", "SLURM_NTASKS": "2"}, "PMI_RANK says .* set DSGD_WORLD or PMI_SIZE"),
        ({"OMPI_COMM_WORLD_RANK": "1", "PMI_RANK": "0"}, "OMPI_COMM_WORLD_RANK is 1 and PMI_RANK is 0"),
    ],
)
def test_the_error_names_the_variable(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rank_and_world(None, None, environ)


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="rank must be an integer of at least 0, not -1"):
        rank_and_world(-1, 3, {})
    with pytest.raises(ConfigError, match="rank is 3, but world says 3 workers"):
        rank_and_world(3, 3, {})
    with pytest.raises(ConfigError, match="rank is 2, but SLURM_NTASKS says 2 workers"):
        rank_and_world(2, None, SLURM)


def test_a_written_token_is_read_again_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "token"
    before = os.umask(0o277)
    try:
        write_token(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    token = read_token(path, {})
    assert len(token) == 32
    assert path.read_text() == f"{token.hex()}\n"
    assert read_token(None, {"DSGD_TOKEN": token.hex()}) == token
    with pytest.raises(ConfigError, match="token exists; remove it first"):
        write_token(path)
    write_token(tmp_path / "other")
    assert read_token(tmp_path / "other", {}) != token


def test_a_token_is_digits_or_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    for content, token in (
        (b"00" * 16, bytes(16)),
        (b"aB" * 16 + b"\r\n", b"\xab" * 16),
        (bytes(range(200, 232)), bytes(range(200, 232))),
        (b"ff" * 1024 + b"\r\n", b"\xff" * 1024),
        (b"a sentence of many words\n", b"a sentence of many words"),
    ):
        path.write_bytes(content)
        assert read_token(path, {}) == token
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content + b"\nmore")))
        assert read_token(Path("-"), {}) == token
    for content in (b"", b"short", b"00" * 15, bytes(15)):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"bytes; it needs 16, in hexadecimal digits 32"):
            read_token(path, {})
    for content in (bytes(1025), b"00" * 1025, bytes(10_000)):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="more than 1024 bytes and is no token"):
            read_token(path, {})
    with pytest.raises(ConfigError, match="no token: give --token-file, or set the variable DSGD_TOKEN"):
        read_token(None, {"DSGD_TOKEN": ""})


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path, link = tmp_path / "token", tmp_path / "link"
    write_token(path)
    link.symlink_to(path)  # as a secret of Kubernetes
    for mode in (0o644, 0o604, 0o620, 0o602):
        path.chmod(mode)
        with pytest.raises(ConfigError, match=f"link has mode {mode:04o}, .*; chmod 600 .*link"):
            read_token(link, {})
    path.chmod(0o400)
    assert len(read_token(link, {})) == 32
    for owner, mode in ((0, 0o440), (0, 0o640), (1000, 0o600)):
        _check_mode("token", mode, owner)
    for owner, mode in ((1000, 0o440), (0, 0o444), (0, 0o460)):
        with pytest.raises(ConfigError, match="has mode"):
            _check_mode("token", mode, owner)
