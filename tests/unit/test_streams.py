"""What commands write: in any locale, into pipes that are closed, and where outputs are descriptors."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_command
from problems import make_problem

import dsgd
from dsgd._common.files import own_descriptor, replacing
from dsgd.data import Dataset, save_libsvm

X, Y = make_problem(200, 12, seed=0)
WORDS = np.where(Y > 0, "grün", "blau")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_libsvm(tmp_path / "train.svm", X, Y)
    Dataset(X=X, y=WORDS).save(tmp_path / "wörter.cache")
    dsgd.fit(X, WORDS, algo="sgd", max_epochs=2, random_state=0).save(tmp_path / "modell-ü")
    return tmp_path


def dsgd_shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which DSGD stands for the command line."""
    words = ["bash", "-o", "pipefail", "-c", command.replace("DSGD", f"{sys.executable} -m dsgd")]
    there = {**os.environ, **environment}
    return subprocess.run(words, cwd=folder, env=there, capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize(
    "locale",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_labels_and_names_of_files_may_be_any_in_every_locale(locale: dict[str, str], folder: Path) -> None:
    expected = "".join(f"{word}\n" for word in dsgd.load(folder / "modell-ü").predict(X))
    done = dsgd_shell("DSGD predict modell-ü wörter.cache --output neu-ü", folder, **locale)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert (folder / "neu-ü").read_text("utf-8") == expected
    done = dsgd_shell("DSGD predict modell-ü wörter.cache", folder, **locale)
    assert done.returncode == 0, done.stderr
    encoding = "latin-1" if locale.get("PYTHONIOENCODING") == "latin-1" else "utf-8"
    assert done.stdout.decode(encoding) == expected
    command = "DSGD fit wörter.cache --positive grün --max-epochs 2 --quiet --model zwei-ü --history verlauf-ü"
    done = dsgd_shell(command, folder, **locale)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (folder / "zwei-ü").is_file()


@pytest.mark.parametrize("command", ["DSGD algorithms", "DSGD predict modell-ü wörter.cache --positive rötlich"])
def test_messages_are_escaped_where_the_locale_lacks_a_character(command: str, folder: Path) -> None:
    assert b"Traceback" not in dsgd_shell(command, folder, PYTHONIOENCODING="ascii").stderr


@pytest.mark.parametrize(
    "command",
    [
        "DSGD predict modell-ü wörter.cache",
        "DSGD predict modell-ü wörter.cache --output /dev/stdout",
        "DSGD algorithms",
        "DSGD fit train.svm --max-epochs 1 --quiet",
        "DSGD fit train.svm --max-epochs 1 --quiet --history /dev/stdout",
        "DSGD convert train.svm new.cache",
    ],
)
def test_a_pipe_that_is_closed_ends_a_command_in_silence(command: str, folder: Path) -> None:
    done = dsgd_shell(f"{command} | true", folder)
    assert done.returncode in (0, 141)  # as of a program that SIGPIPE ends; it may be done before the reader is gone
    assert b"rror" not in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_full_disk_is_one_error(folder: Path) -> None:
    done = dsgd_shell("DSGD predict modell-ü wörter.cache > /dev/full", folder)
    assert done.returncode == 2
    assert done.stderr == b"dsgd: error: [Errno 28] No space left on device: 'standard output'\n"


def test_closed_streams_lose_no_model(folder: Path) -> None:
    done = dsgd_shell("DSGD fit train.svm --max-epochs 1 --model m >&- 2>&-", folder)
    assert done.returncode == 0
    assert dsgd.load(folder / "m").history[-1].epoch == 1
    done = dsgd_shell("DSGD predict m train.svm >&-", folder)
    assert done.returncode == 2
    assert done.stderr == b"dsgd: error: standard output is closed\n"


@pytest.mark.parametrize("name", ["/dev/stdout", "link"])
def test_an_output_may_be_standard_output(name: str, folder: Path) -> None:
    (folder / "link").symlink_to("/dev/stdout")
    command = f"DSGD fit train.svm --max-epochs 3 --quiet --model m --history {name}"
    done = dsgd_shell(f"{command} | cat; {command} > file", folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(b"200 rows, 12 features") == 2  # the summary would spoil the JSON
    for text in (done.stdout, (folder / "file").read_bytes()):
        assert [record["epoch"] for record in json.loads(text)] == [1, 2, 3]
    done = dsgd_shell(f"DSGD predict m train.svm --output {name} > file", folder)
    assert done.returncode == 0
    assert len((folder / "file").read_text().split()) == 200
    done = dsgd_shell("DSGD predict m train.svm --output >(cat > there); sleep 0.3; cat there", folder)
    assert len(done.stdout.split()) == 200
    done = dsgd_shell(f"DSGD fit train.svm --model m --history {name} >&-", folder)
    assert done.returncode == 2
    assert name.encode() in done.stderr


def test_descriptors_are_told_from_files(tmp_path: Path) -> None:
    assert own_descriptor("/dev/stdout") == own_descriptor("/proc/self/fd/1") == own_descriptor("/dev/fd/1") == 1
    assert own_descriptor("/dev/fd/63") == 63
    for path in (tmp_path / "1", "/dev/null", "/dev/fd/x", tmp_path, "none/1"):
        assert own_descriptor(path) is None


def _fail(path: Path) -> Any:
    with replacing(path) as beside:
        beside.write_bytes(b"x" * 5000)


def test_errors_of_writing_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*/none\)") as caught:
        _fail(tmp_path / "none" / "file")
    assert caught.value.filename == str(tmp_path / "none" / "file")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for write in (
            _fail,
            lambda path: save_libsvm(path, X, Y),
            lambda path: Dataset(X=X.toarray(), y=Y).save(path),
            lambda path: dsgd.fit(X, Y, algo="sgd", max_epochs=20).save(path),
        ):
            with pytest.raises(OSError, match="File too large") as error:
                write(tmp_path / "file")
            assert ".dsgd-" not in str(error.value)
            assert str(tmp_path / "file") in str(error.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_label_that_the_training_data_lacks_counts_as_wrong(tmp_path: Path) -> None:
    labels = np.where(np.arange(200) % 4 == 0, "rot", WORDS)
    for loss in ("hinge", "softmax"):
        result = dsgd.fit(X, WORDS, algo="sgd", loss=loss, eval_set=(X, labels), max_epochs=2, random_state=0)
        assert result.history[-1].score == result.score(X, labels)
        assert result.score(X, labels) == pytest.approx(np.mean(result.predict(X) == labels))
    Dataset(X=X, y=labels).save(tmp_path / "test.cache")
    Dataset(X=X, y=WORDS).save(tmp_path / "train.cache")
    done = run_command("fit", "train.cache", "--test", "test.cache", "--quiet", "--max-epochs", 2, cwd=tmp_path)
    assert "test score 0." in done.stdout, done.stderr
