"""What a run writes: refused before it begins where it cannot be written, and no reason to end a run later."""

from __future__ import annotations

import errno
import functools
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from leftovers import left_since, leftovers
from local.fits import X, Y, local_fit, simulated_fit
from local.programs import Mortal

import dsgd
from dsgd.algorithms import Ssp
from dsgd.cluster.local import packing
from dsgd.cluster.local.config import LocalCluster
from dsgd.cluster.local.packing import Nameless, path_of
from dsgd.cluster.runtime.checkpoint import About, Checkpoint
from dsgd.data.cache import map_arrays
from dsgd.errors import ClusterError, ConfigError

BARRIER = Ssp(staleness=0)


def refuse(*_: Any) -> None:
    raise AssertionError("an epoch has begun")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("no/such/folder", "No such file or directory"),
        (".", "is not a regular file and cannot be replaced"),
        ("file/below", "Not a directory"),
        ("/proc/checkpoint", "cannot be written"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_run(
    path: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"^checkpoint {path} cannot be written .*: name one in a folder") as caught:
        local_fit({"checkpoint": path, "checkpoint_every": 5}, callbacks=[refuse])
    assert reason in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused_before_the_run(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    for options in ({"checkpoint": tmp_path / "checkpoint", "checkpoint_every": 5}, {"log_dir": tmp_path}):
        with pytest.raises(ConfigError, match=r"cannot be written \(Permission denied\)"):
            local_fit(options, callbacks=[refuse])


def test_a_folder_that_takes_no_logs_is_refused_before_the_run() -> None:
    with pytest.raises(ConfigError, match="log_dir /proc cannot be written"):
        local_fit({"log_dir": "/proc"}, callbacks=[refuse])


def test_a_checkpoint_in_a_deleted_folder_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deleted"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(ConfigError, match=r"checkpoint saved cannot be written \(No such file or directory\)"):
        local_fit({"checkpoint": "saved", "checkpoint_every": 5})


def test_a_checkpoint_that_can_no_longer_be_written_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full for a while: one warning, the same model, and the last checkpoint is there."""
    failures: list[int] = []
    save = Checkpoint.save

    def save_later(self: Checkpoint, path: Path, about: About) -> None:
        if len(failures) < 3:
            failures.append(self.clock)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(self, path, about)

    monkeypatch.setattr(Checkpoint, "save", save_later)
    path = tmp_path / "saved"
    with pytest.warns(RuntimeWarning, match=f"cannot be written to {path}: No space left on device") as caught:
        result = local_fit({"checkpoint": path, "checkpoint_every": 5}, algo=BARRIER)
    assert len(caught) == 1
    assert failures == [5, 10, 15]
    assert np.array_equal(result.coef_, simulated_fit(algo=BARRIER).coef_)
    assert Checkpoint.load(path)[0].clock > 15


def test_a_folder_that_goes_away_costs_the_checkpoints_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalCluster, "check_writable", lambda _: None)  # it was there when that was called
    with pytest.warns(RuntimeWarning, match=r"No such file or directory .*gone\); the run goes on") as caught:
        result = local_fit({"checkpoint": tmp_path / "gone" / "saved", "checkpoint_every": 5}, algo=BARRIER)
    assert len(caught) == 1
    assert np.array_equal(result.coef_, simulated_fit(algo=BARRIER).coef_)


@functools.cache
def may_mount() -> bool:
    """Return whether a process may have a view of its own of the file system."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except OSError:
        return False


FIT = """
import dsgd, os, tempfile
X, y = dsgd.data.make_text_classification(300, random_state=0)
try:
    print(dsgd.fit(X, y, algo="ssp", loss="logistic", max_epochs=2, random_state=0, workers=2).stop_reason)
except dsgd.errors.ClusterError as error:
    print(error)
print(os.listdir("/dev/shm"), os.listdir(tempfile.gettempdir()))
"""


@pytest.mark.parametrize(
    ("memory", "disk", "result"),
    [
        ("64k", "64m", "max_epochs"),
        ("64m", "16k", "max_epochs"),
        ("600k", "16k", "max_epochs"),  # less than twice the room that is needed, but enough
        (
            *("64k", "16k"),
            r"the data of a run take \d+ bytes more, and no folder for temporary files takes them \(.*: No space left "
            r"on device; /dev/shm: No space left on device\): make room there, or set TMPDIR to a folder with room",
        ),
    ],
)
def test_a_full_folder_is_fallen_back_from(memory: str, disk: str, result: str, tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("unshare -rm may not mount a file system here")
    mounts = f"mount -t tmpfs -o size={memory} tmpfs /dev/shm; mount -t tmpfs -o size={disk} tmpfs {tmp_path}"
    command = ["unshare", "-rm", "sh", "-ec", f'{mounts}; exec "$0" -c "$1"', sys.executable, FIT]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    lines = process.stdout.splitlines()
    assert lines[1:] == ["[] []"], process.stderr
    assert re.fullmatch(result, lines[0])


@pytest.fixture
def _short_files() -> Iterator[None]:
    """Let no file grow beyond 16 kB, in any folder."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("_short_files")
def test_where_no_folder_takes_the_data_the_error_says_so_and_nothing_is_left() -> None:
    before = leftovers()
    with pytest.raises(ClusterError, match=r"take 80000 bytes more, .*File too large.*TMPDIR"):
        Nameless({"numbers": np.zeros(10_000)})
    assert not left_since(before)


@pytest.mark.parametrize("memory", ["full", "missing", "a file"])
def test_the_folder_in_memory_may_be_of_no_use(memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setattr(packing, "_MEMORY", tmp_path / memory)
    monkeypatch.setattr(packing, "_has_room", lambda _: memory == "full")  # it was said to have some
    file = Nameless({"numbers": np.arange(1000)})
    assert np.array_equal(map_arrays(path_of(file.descriptor))[0]["numbers"], np.arange(1000))
    file.close()


def test_no_usable_folder_at_all_is_an_error_that_names_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_MEMORY", tmp_path / "missing")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "gone"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(ClusterError, match=r"gone: No such file.*missing: No such file.*set TMPDIR"):
        Nameless({"numbers": np.arange(1000)})


def test_the_umask_does_not_matter() -> None:
    former = os.umask(0o777)
    try:
        file = Nameless({"numbers": np.arange(10)})
    finally:
        os.umask(former)
    assert os.fstat(file.descriptor).st_mode & 0o777 == 0o600
    file.close()


def test_a_run_works_with_any_umask(tmp_path: Path) -> None:
    options = {"checkpoint": tmp_path / "saved", "checkpoint_every": 5, "log_dir": tmp_path, "restart_workers": 1}
    former = os.umask(0o777)
    try:
        result = local_fit(options, algo=Mortal(staleness=0))  # the worker that is started again opens its log again
    finally:
        os.umask(former)
    assert np.array_equal(result.coef_, simulated_fit(algo=BARRIER).coef_)
    names = {path.name for path in tmp_path.iterdir() if path.stat().st_mode & 0o777 == 0o600}
    assert names == {"saved", "server-0.log", "worker-0.log", "worker-1.log"}


def test_a_log_that_can_no_longer_be_written_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(LocalCluster, "check_writable", lambda _: None)  # it could when that was called
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    cluster = LocalCluster(workers=2, log_dir=log_dir)
    log_dir.rmdir()
    assert dsgd.fit(X, Y, algo="ssp", loss="logistic", max_epochs=2, cluster=cluster).stop_reason == "max_epochs"
    assert f"no log in {log_dir / 'worker-1.log'}: No such file or directory" in caplog.text
