"""`dsgd launch` with a script in the place of ssh, which runs the command on this machine in a session of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import run_command

TOKEN = "0123456789abcdef" * 4

# As sshd does, it runs the text in a session of its own, which lives on where ssh is killed.
SSH = """#!/bin/sh
printf '%s\\n' "$@" >> ssh.log
[ "$1" = down ] && exit 255
exec 4<&0
setsid sh -c "$2" <&4 4<&- &
wait $!
"""
# It stands for `python -m dsgd worker --token-file - SCRIPT`, and runs the script.
PYTHON = """#!/bin/sh
[ "$1 $2 $3 $4 $5" = "-m dsgd worker --token-file -" ] || exit 99
IFS= read -r token
shift 5
script=$1
shift
eval "$script"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DSGD_TOKEN", TOKEN)
    for name, text in (("ssh", SSH), ("python", PYTHON)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700)
    (tmp_path / "hosts").write_text("# the hosts\na\n\nme@b  # twice\nme@b\n")
    return tmp_path


def launched(folder: Path, *arguments: str, hosts: str = "hosts") -> subprocess.CompletedProcess[str]:
    return run_command("launch", hosts, "--ssh", "./ssh", "--python", "./python", "--", *arguments, cwd=folder)


def gone(pid: int) -> bool:
    """Return whether a process ends within ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat")
        try:
            if state.read_text().rpartition(")")[2].split()[0] == "Z":  # nobody may be there to wait for it
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def pids(folder: Path, n_workers: int) -> list[int]:
    """Wait until so many workers have written their numbers."""
    deadline = time.monotonic() + 60
    while len(found := [path for path in folder.glob("pid.*") if path.read_text().endswith("\n")]) < n_workers:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [int(path.read_text()) for path in found]


SLEEP = "echo $$ > pid.$DSGD_RANK; exec sleep 60"


def test_every_line_of_every_worker_is_forwarded_with_its_rank(folder: Path) -> None:
    script = 'echo "$DSGD_RANK of $DSGD_WORLD, $token"; echo; echo fault >&2; printf "no newline"'
    done = launched(folder, script)
    assert done.returncode == 0, done.stderr
    expected = []
    for rank, host in enumerate(["a", "me@b", "me@b"]):
        lines = [f"{rank} of 3, {TOKEN}", "", "no newline"]
        ours = [line for line in done.stdout.splitlines() if line.startswith(f"[rank {rank} {host}]")]
        assert ours == [f"[rank {rank} {host}] {line}" for line in lines]
        expected.append(f"[rank {rank} {host}] fault")
    assert sorted(done.stderr.splitlines()) == expected
    log = (folder / "ssh.log").read_text()
    assert log.count("me@b\n") == 2
    assert TOKEN not in log  # it is on no command line


def test_much_output_is_forwarded_whole(folder: Path) -> None:
    (folder / "one").write_text("a\n")
    done = launched(folder, "seq 50000", hosts="one")
    assert done.stdout.splitlines() == [f"[rank 0 a] {i}" for i in range(1, 50001)]


def test_arguments_reach_the_worker_as_they_are(folder: Path) -> None:
    (folder / "one").write_text("a\n")
    odd = ["; touch hacked", "$(touch hacked)", "`touch hacked`", "'", '"', "a b", "*", "", "--rank", "é", "!x"]
    done = launched(folder, """printf '<%s>\\n' "$@" """, *odd, hosts="one")
    assert done.stdout.splitlines() == [f"[rank 0 a] <{word}>" for word in odd]
    assert not (folder / "hacked").exists()


def test_if_one_fails_all_are_ended_and_the_error_names_it(folder: Path) -> None:
    wait = "while ! [ -e pid.0 ] || ! [ -e pid.1 ]; do sleep 0.02; done"
    done = launched(folder, f"if [ $DSGD_RANK = 2 ]; then {wait}; exit 7; else {SLEEP}; fi")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "dsgd: error: rank 2 me@b returned 7; ended rank 0 a, rank 1 me@b"
    assert all(gone(pid) for pid in pids(folder, 2))


def test_a_host_that_ssh_does_not_reach_is_named(folder: Path) -> None:
    (folder / "hosts").write_text("down\na\n")
    done = launched(folder, "exec sleep 60")
    assert done.returncode == 2
    assert "rank 0 down returned 255 (ssh failed); ended rank 1 a" in done.stderr


def test_one_that_has_ended_well_is_waited_for_no_longer(folder: Path) -> None:
    done = launched(folder, "[ $DSGD_RANK = 0 ] || sleep 0.3; echo end")
    assert done.returncode == 0
    assert done.stdout.count("end") == 3


def test_who_does_not_heed_sigterm_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["dsgd.cli.launch"], "_GRACE", 0.2)
    (folder / "ssh").write_text(
        "#!/bin/sh\n[ $1 = a ] && { trap '' TERM; echo $$ > pid.0; exec sleep 60; }\n"
        "while ! [ -e pid.0 ]; do sleep 0.02; done; exit 3\n"
    )
    done = launched(folder)
    assert "returned 3" in done.stderr
    assert all(gone(pid) for pid in pids(folder, 1))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_no_worker_outlives_the_launcher(folder: Path, number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "dsgd", "launch", "hosts", "--ssh", "./ssh", "--python", "./python", "--", SLEEP]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        workers = pids(folder, 3)
        process.send_signal(number)
        assert process.wait(60) == code
        assert all(gone(pid) for pid in workers)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        ("", "hosts names no host"),
        ("a\n-oProxyCommand=x\n", "hosts:2: '-oProxyCommand=x' is no host"),
        ("a b\n", "hosts:1: 'a b' is no host; a line holds one, as user@host or host"),
        ("a;b\n", "is no host"),
    ],
)
def test_a_wrong_list_of_hosts_is_refused(folder: Path, hosts: str, message: str) -> None:
    (folder / "hosts").write_text(hosts)
    done = launched(folder)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (folder / "ssh.log").exists()


def test_the_command_of_ssh_and_the_token_are_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ssh, message in (("'", "is no command"), ("", "--ssh is empty"), ("./nothing", "No such file")):
        assert message in run_command("launch", "hosts", "--ssh", ssh, cwd=folder).stderr
    (folder / "one").write_text("a\n")
    done = run_command("launch", "one", "--ssh", "env ./ssh", "--python", "./python", "--", "echo $token", cwd=folder)
    assert done.stdout == f"[rank 0 a] {TOKEN}\n"  # words of --ssh
    monkeypatch.delenv("DSGD_TOKEN")
    assert "give --token-file" in launched(folder).stderr
    (folder / "token").write_text("ff" * 16)
    (folder / "token").chmod(0o600)
    options = ["--token-file", "token", "--ssh", "./ssh", "--python", "./python"]
    done = run_command("launch", "one", *options, "--", "echo $token", cwd=folder)
    assert done.stdout == f"[rank 0 a] {'ff' * 16}\n"


def test_without_python_the_hosts_run_their_command_dsgd(folder: Path) -> None:
    (folder / "ssh").write_text('#!/bin/sh\nprintf "%s" "$2"\n')
    (folder / "one").write_text("a\n")
    done = run_command("launch", "one", "--ssh", "./ssh", "--", "--server", "h:1", "train set", cwd=folder)
    assert "env DSGD_RANK=0 DSGD_WORLD=1 dsgd worker --token-file - --server h:1 'train set'" in done.stdout
