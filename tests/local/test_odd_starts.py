"""A run works, or says what is wrong, wherever it is started: without streams, with many files, in odd interpreters."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from leftovers import runs
from local.fits import local_fit, simulated_fit

from dsgd._common.files import copied_descriptor
from dsgd.algorithms import Ssp
from dsgd.cluster.local.child import Child
from dsgd.errors import ClusterError, ConfigError

BARRIER = Ssp(staleness=0)
FIT = """
import sys, traceback
from pathlib import Path
import dsgd
X, y = dsgd.data.make_text_classification(300, random_state=0)
try:
    result = dsgd.fit(X, y, algo="ssp", loss="logistic", max_epochs=2, random_state=0, workers=2).stop_reason
except BaseException:
    result = traceback.format_exc()
Path(sys.argv[1]).write_text(result)
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(closed: str, tmp_path: Path) -> None:
    """As in a daemon: what is opened first gets their numbers."""
    result = tmp_path / "result"
    command = ["sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, "-c", FIT, str(result)]
    subprocess.run(command, timeout=120, check=True)
    assert result.read_text() == "max_epochs"


def test_a_copied_descriptor_is_no_standard_stream_and_is_not_inherited(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb+") as file:
        copy = copied_descriptor(file)
        try:
            assert copy > 2
            assert not os.get_inheritable(copy)
            os.write(copy, b"same")
            assert os.pread(file.fileno(), 4, 0) == b"same"
        finally:
            os.close(copy)


@pytest.fixture
def _many_files() -> Iterator[None]:
    """Leave only descriptors above 1023, with which `select.select` cannot wait."""
    wanted = 1500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"a process may open {hard} files here; {wanted} are needed")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        assert opened[-1] > 1023
        yield
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_many_files")
def test_more_than_1024_files_may_be_open() -> None:
    assert local_fit({"checkpoint_every": 5}, max_epochs=2).stop_reason == "max_epochs"


def test_what_an_import_passes_over_is_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dsgd.py").write_text("raise SystemExit('the wrong one')")
    for entry in (tmp_path, bytes(tmp_path), None):
        monkeypatch.syspath_prepend("")
        sys.path[0] = entry  # type: ignore[call-overload]
    expected = simulated_fit(algo=BARRIER).coef_
    assert local_fit(algo=BARRIER).coef_.tobytes() == expected.tobytes()


def test_the_working_folder_may_have_been_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "deleted"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend("")
    folder.rmdir()
    assert local_fit(max_epochs=2).stop_reason == "max_epochs"


@pytest.mark.parametrize(
    ("executable", "error", "message"),
    [
        (None, ConfigError, "sys.executable is None, as in a program that embeds Python.*: set it to the path of"),
        ("", ConfigError, "sys.executable is '', as in"),
        ("/no/such/python", ClusterError, "server 0 could not be started by sys.executable, /no/such/python: "),
    ],
)
def test_an_interpreter_that_cannot_be_started_is_named(
    executable: Any, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(error, match=message):
        local_fit()


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.02)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_that_is_stopped_while_it_imports_does_not_outlive_its_parent(tmp_path: Path) -> None:
    (tmp_path / "stops.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n")
    parent = f"""
import sys, time
sys.path.append({str(tmp_path)!r})
from dsgd.cluster.local.child import Child
print(Child("stops", "worker 0", 1, [], None, {{}}).pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            wait_until(lambda: state_of(child) == "T")
        finally:
            process.kill()
    wait_until(lambda: not runs(child))


def test_a_process_that_is_interrupted_while_it_imports_has_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "interrupted.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    monkeypatch.syspath_prepend(tmp_path)
    log = tmp_path / "log"
    child = Child("interrupted", "worker 0", 1, [], log, {})
    try:
        assert child.how_it_ended() == f"was killed by {signal.SIGINT.name}"
        assert log.read_text() == ""
    finally:
        child.end()
