"""A run of `dsgd server` and `dsgd worker` on hosts, and the same fit on processes of one machine."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from hosts.namespaces import Host
from problems import make_problem

import dsgd
from dsgd.data import save_libsvm

__all__ = ["ALGORITHMS", "PORT", "ByHand", "Started", "same_on_processes"]

PORT = 7000
# Which option makes an algorithm wait for all workers, so that a run has the same bits whatever its links do.
ALGORITHMS: dict[str, dict[str, Any]] = {
    "ssp": {"staleness": 0},
    "sync": {"batch_size": 20},
    "dissvrg": {"staleness": 0},
}
LOSS, STEP_SIZE, SEED = "logistic", 0.1, 1
_SECONDS = 60.0  # within which whatever is waited for must come
_PROBLEM = make_problem(60, 8, seed=4)  # every feature occurs, so that a file tells how many there are


@functools.cache
def same_on_processes(algo: str, workers: int, max_epochs: int) -> bytes:
    """Return the weights of the fit that a run by hand makes, on processes of this machine."""
    result = dsgd.fit(
        *_PROBLEM,
        algo=algo,
        loss=LOSS,
        step_size=STEP_SIZE,
        max_epochs=max_epochs,
        random_state=SEED,
        cluster=dsgd.LocalCluster(workers=workers),
        **ALGORITHMS[algo],
    )
    return np.asarray(result.model.weights).tobytes()


class Started:
    """A command that was started on a host, with what it has said so far."""

    def __init__(self, host: Host, log: Path, *words: object) -> None:
        self._log = log
        with log.open("w") as output:
            command = [sys.executable, "-m", "dsgd", *map(str, words)]
            self.process = host.run(command, stdout=output, stderr=subprocess.STDOUT)

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_for(self, pattern: str) -> None:
        """Wait until it has said a text that a regular expression matches."""
        limit = time.monotonic() + _SECONDS
        while not re.search(pattern, self.said):
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.said}"
            assert time.monotonic() < limit, f"no {pattern!r} within {_SECONDS:g} s:\n{self.said}"
            time.sleep(0.02)

    def exit_code(self) -> int:
        """Wait for the end."""
        try:
            return self.process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {_SECONDS:g} s:\n{self.said}") from None

    def succeeds(self) -> None:
        """Wait for the end, which must be one without an error."""
        assert self.exit_code() == 0, self.said


class ByHand:
    """The server on the first of the hosts and a worker on each of the others; all may read one folder."""

    def __init__(self, hosts: list[Host], folder: Path, algo: str = "ssp", max_epochs: int = 5) -> None:
        self.server_host, *self.worker_hosts = hosts
        self.world = len(self.worker_hosts)
        self.model, self.checkpoint = folder / "model.safetensors", folder / "checkpoint"
        self._folder, self._train, self._token = folder, folder / "train.svm", folder / "token"
        self._algo, self._max_epochs = algo, max_epochs
        self._n_started = 0
        save_libsvm(self._train, *_PROBLEM)
        self.write_token(self._token, "a" * 64)

    @staticmethod
    def write_token(path: Path, token: str) -> None:
        """Write a token to a file that others may not read."""
        path.touch(0o600)
        path.write_text(token)

    def start_server(self, *more: object, **options: Any) -> Started:
        """Start the server; `options` are those of the algorithm that differ from `ALGORITHMS`."""
        chosen = {**ALGORITHMS[self._algo], **options}
        return self._start(
            self.server_host,
            *("server", "--world", self.world, "--bind", "0.0.0.0", "--port", PORT, "--token-file", self._token),
            *("--algo", self._algo, *(word for each in chosen.items() for word in ("--option", "{}={}".format(*each)))),
            *("--loss", LOSS, "--step-size", STEP_SIZE, "--max-epochs", self._max_epochs, "--seed", SEED),
            *("--model", self.model, *more),
        )

    def start_worker(self, rank: int, *, token: Path | None = None) -> Started:
        """Start the worker of a rank, on its host."""
        return self._start(
            self.worker_hosts[rank],
            *("worker", "--server", f"{self.server_host.address}:{PORT}", "--rank", rank, "--world", self.world),
            *("--token-file", token or self._token, self._train),
        )

    def start_workers(self) -> list[Started]:
        """Start all workers."""
        return [self.start_worker(rank) for rank in range(self.world)]

    def weights(self) -> bytes:
        """Return the weights of the model that the server has saved."""
        return np.asarray(dsgd.load(self.model).model.weights).tobytes()

    def check_bits(self) -> None:
        """Compare the model with that of the same fit on processes of this machine."""
        assert self.weights() == same_on_processes(self._algo, self.world, self._max_epochs)

    def _start(self, host: Host, *words: object) -> Started:
        self._n_started += 1
        return Started(host, self._folder / f"{words[0]}-{self._n_started}.log", *words)
