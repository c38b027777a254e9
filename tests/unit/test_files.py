"""Files are written whole, whatever the umask, and what cannot be written is said by its name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsgd._common.files import check_replaceable, replacing


@pytest.fixture
def _umask_777(tmp_path: Path) -> Iterator[None]:
    """Let new files be readable and writable by nobody."""
    former = os.umask(0o777)
    yield
    os.umask(former)


@pytest.mark.usefixtures("_umask_777")
def test_the_owner_of_a_new_file_may_use_it_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in ("new", "newer"):
        with replacing(path) as beside:
            beside.write_text(text)
        assert path.read_text() == text
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_of_the_umask(umask: int, tmp_path: Path) -> None:
    former = os.umask(umask)
    try:
        with replacing(tmp_path / "file") as beside:
            beside.write_text("text")
    finally:
        os.umask(former)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every file")
def test_a_file_that_may_not_be_written_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("kept")
    path.chmod(0o400)
    with pytest.raises(PermissionError, match=str(path)):
        check_replaceable(path)
    assert path.read_text() == "kept"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_that_leave_out_the_owner_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o266)
    with replacing(path) as beside:
        beside.write_text("new")
        assert beside.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o266


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("no/such/file", "No such file or directory"),
        ("below/file", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("loop", "Too many levels of symbolic links"),
        (".", "is not a regular file and cannot be replaced"),
    ],
)
def test_what_cannot_be_written_is_named(
    path: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=reason) as caught:
        check_replaceable(path)
    assert Path(path).name in str(caught.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["below", "loop"]


ROWS = "".join(f"{sign} 1:{sign * 0.5} 2:{row / 10}\n" for row in range(10) for sign in (-1, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("fit {train} --quiet", ""),
        ("fit {train} --algo ssp --workers 2 --quiet", ""),
        ("simulate {train} --quiet", ""),
        ("fit train.svm", "No such file or directory: 'train.svm'"),
        ("fit {train} --model saved", "No such file or directory: 'saved'"),
        ("simulate {train} --trace saved", "No such file or directory: 'saved'"),
        ("convert {train} saved", "No such file or directory: 'saved'"),
    ],
)
def test_a_command_in_a_deleted_folder_works_or_says_what_is_missing(
    arguments: str, message: str, tmp_path: Path
) -> None:
    train, folder = tmp_path / "train", tmp_path / "deleted"
    train.write_text(ROWS)
    folder.mkdir()
    command = [sys.executable, "-m", "dsgd", *arguments.format(train=train).split()]
    shell = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *command]
    process = subprocess.run(shell, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in process.stderr
    assert process.returncode == (2 if message else 0), process.stderr
    if message:
        assert process.stderr == f"dsgd: error: [Errno 2] {message}\n"
