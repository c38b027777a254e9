from __future__ import annotations

import gzip
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsgd.data import available, fetch, registry
from dsgd.data.registry import RemoteFile, Source
from dsgd.errors import ConfigError, DataError

TRAIN, TEST = b"1 1:0.5 3:2\n-1 2:1\n1 1:1\n", b"-1 1:3\n"


@dataclass
class Server:
    """What a server on loopback answers: bytes, a status, or as much of a body as it was told to send."""

    url: str = ""
    answers: dict[str, bytes | int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    cut_after: int | None = None
    stall: bool = False
    released: threading.Event = field(default_factory=threading.Event)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                answer = server.answers.get(self.path, 404)
                if isinstance(answer, int):
                    self.send_error(answer)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer[: server.cut_after])
                if server.stall:
                    self.wfile.flush()
                    server.released.wait(60)

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "*")
    state = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), state.handler()) as listener:
        state.url = f"http://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(
            target=listener.serve_forever, args=(0.01,)
        )  # seconds until it sees that it is to end
        thread.start()
        yield state
        state.released.set()
        listener.shutdown()
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def small(server: Server, monkeypatch: pytest.MonkeyPatch) -> Source:
    """Put a data set of three rows and a test part of one on the server, and into the registry as "small"."""
    server.answers = {"/small": TRAIN, "/small.t": TEST}
    files = tuple(RemoteFile(url=f"{server.url}/{name}", name=name) for name in ("small", "small.t"))
    source = replace(available()["a9a"], name="small", n_samples=3, n_test=1, n_features=3, files=files)
    return install(monkeypatch, source)


def install(monkeypatch: pytest.MonkeyPatch, source: Source) -> Source:
    monkeypatch.setitem(registry._SOURCES, source.name, source)
    return source


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_set_is_downloaded_once_and_then_read_from_the_cache(
    small: Source, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="dsgd"):
        train, test = fetch("small", cache_dir=tmp_path)
    assert train.X.toarray().tolist() == [[0.5, 0, 2], [0, 1, 0], [1, 0, 0]]
    assert train.X.dtype == np.float32
    assert train.y.tolist() == [1, -1, 1]
    assert test is not None
    assert test.X.toarray().tolist() == [[3, 0, 0]]
    assert files_in(tmp_path) == ["small/small", "small/small.t"]
    assert hashlib.sha256(TRAIN).hexdigest() in caplog.text  # there is none to compare it with
    assert fetch("small", cache_dir=tmp_path, dtype=np.float64).train.X.dtype == np.float64
    assert server.requests == ["/small", "/small.t"]


def test_a_file_put_there_by_hand_is_taken_without_the_network(
    small: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = tuple(replace(file, url="http://127.0.0.1:1/nothing") for file in small.files)
    install(monkeypatch, replace(small, files=unreachable))
    monkeypatch.setenv("DSGD_CACHE", str(tmp_path))
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "small").write_bytes(TRAIN)
    with pytest.raises(DataError, match=r"data set 'small'.*put it into .*small as small\.t"):
        fetch("small")
    (tmp_path / "small" / "small.t").write_bytes(TEST)
    assert fetch("small").train.n_samples == 3


def refuse(server: Server, small: Source) -> Source:
    return replace(small, files=(replace(small.files[0], url="http://127.0.0.1:1/small"),))


def answer_404(server: Server, small: Source) -> Source:
    server.answers.clear()
    return small


def answer_503(server: Server, small: Source) -> Source:
    server.answers["/small"] = 503
    return small


def stall(server: Server, small: Source) -> Source:
    server.cut_after, server.stall = 10, True
    return small


def cut_off(server: Server, small: Source) -> Source:
    server.cut_after = 10
    return small


def wrong_checksum(server: Server, small: Source) -> Source:
    return replace(small, files=(replace(small.files[0], checksum="md5:" + "0" * 32),))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (refuse, "refused"),
        (answer_404, "404"),
        (answer_503, "503"),
        (stall, "timed out"),
        (cut_off, "Connection broken|IncompleteRead"),
        (wrong_checksum, "does not match the known hash"),
    ],
)
def test_a_failed_download_says_what_to_do_and_leaves_nothing_behind(
    small: Source,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Server, Source], Source],
    message: str,
) -> None:
    install(monkeypatch, fault(server, small))
    with pytest.raises(DataError, match=message) as caught:
        fetch("small", cache_dir=tmp_path, timeout=0.5 if fault is stall else 60)
    for part in ("data set 'small'", "http://127.0.0.1:", f"put it into {tmp_path / 'small'} as small"):
        assert part in str(caught.value)
    assert files_in(tmp_path) == []


def test_a_file_with_the_published_checksum_is_kept_and_another_replaced(
    small: Source, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checksum = f"md5:{hashlib.md5(TRAIN).hexdigest()}"
    install(monkeypatch, replace(small, files=(replace(small.files[0], checksum=checksum),), n_test=0))
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "small").write_bytes(b"1 1:0.5 3:2\n")
    split = fetch("small", cache_dir=tmp_path)
    assert split.train.n_samples == 3
    assert split.test is None
    fetch("small", cache_dir=tmp_path)
    assert server.requests == ["/small"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TRAIN[:12], r"\(1, 1\) rows of training and test, where \(3, 1\) are published"),
        (b"<html>Log in to the network</html>", "small/small:1"),
        (b"1 9:1\n", "n_features=3 is too small"),
    ],
)
def test_a_download_that_is_something_else_is_refused(
    small: Source, server: Server, tmp_path: Path, content: bytes, message: str
) -> None:
    server.answers["/small"] = content
    with pytest.raises(DataError, match=f"data set 'small'.*{message}.*; delete .*small and fetch it again"):
        fetch("small", cache_dir=tmp_path)


def test_rcv1_is_put_together_from_its_files(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rcv1 = available()["rcv1"]
    documents = [(f"{2 * k + 1}  {k + 1}:0.5\n{2 * k + 2}  7:1\n").encode() for k in range(5)]
    topics = b"CCAT 1 1\nECAT 2 1\nCCAT 4 1\nCCATX 5 1\nCCAT 9 1\n"
    for file, content in zip(rcv1.files, [*documents, topics], strict=True):
        server.answers[f"/{file.name}"] = gzip.compress(content)
    files = tuple(RemoteFile(url=f"{server.url}/{file.name}", name=file.name) for file in rcv1.files)
    install(monkeypatch, replace(rcv1, files=files, n_samples=8, n_test=2))
    train, test = fetch("rcv1", cache_dir=tmp_path)
    assert train.X.shape == (8, 47_236)
    assert train.X[[0, 2, 4, 6], [0, 1, 2, 3]].tolist() == [0.5] * 4
    assert train.y.tolist() == [1, -1, -1, 1, -1, -1, -1, -1]
    assert test is not None
    assert test.y.tolist() == [1, -1]


def test_mnist_and_yearprediction_are_dense(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = b"\0\0\x08\x03" + bytes([0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]) + bytes([0, 255, 255, 0])
    labels = b"\0\0\x08\x01" + bytes([0, 0, 0, 2]) + bytes([3, 4])
    contents = {
        "mnist": [images, labels] * 2,
        "yearprediction": [b"2001 1:0.5 90:1\n1999 2:1\n", b"1980 1:1\n2000 1:1\n"],
    }
    for name, parts in contents.items():
        source = available()[name]
        for file, content in zip(source.files, parts, strict=True):
            server.answers[f"/{file.name}"] = content
        files = tuple(RemoteFile(url=f"{server.url}/{file.name}", name=file.name) for file in source.files)
        install(monkeypatch, replace(source, files=files, n_samples=2, n_test=2))
        train, test = fetch(name, cache_dir=tmp_path)
        assert isinstance(train.X, np.ndarray)
        assert test is not None
        assert test.X.shape == train.X.shape
    assert train.X[0, [0, 89]].tolist() == [0.5, 1]
    assert train.y.tolist() == [2001, 1999]


def test_what_is_available_says_what_it_is() -> None:
    sources = available()
    assert set(sources) == {
        *("a9a", "covtype", "kdda", "mnist", "news20", "phishing", "rcv1", "real-sim", "yearprediction"),
    }
    for name, source in sources.items():
        assert source.name == name
        assert source.home.startswith("http")
        assert source.task in ("classification", "regression")
        assert min(source.n_samples, source.n_features) > 0
        assert all(file.url.startswith("https://") for file in source.files)
        assert len({file.name for file in source.files}) == len(source.files)
    with pytest.raises(ConfigError, match="unknown data set 'realsim'; did you mean 'real-sim'"):
        fetch("realsim")
    with pytest.raises(ConfigError, match="timeout must be a finite number above 0"):
        fetch("a9a", timeout=0)
    sources.clear()
    assert available()


def test_the_registry_has_the_sizes_of_the_real_sets(
    real_file: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, packed in (("a9a", ["a9a_train.svm.xz", "a9a_test.svm.xz"]), ("phishing", ["phishing.svm.xz"])):
        folder = tmp_path / name
        folder.mkdir()
        for file, local in zip(available()[name].files, packed, strict=True):
            (folder / file.name).symlink_to(real_file(local))
        assert fetch(name, cache_dir=tmp_path).train.n_features == available()[name].n_features
