"""The main jobs from end to end, as `make demo` runs them: real data, then data of the shape of RCV1-v2.

Everything uses the public interface: files, `dsgd.fit`, saving, loading, predicting. Last comes a
distributed run: processes of this machine beside the same cluster in simulation.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import dsgd
from dsgd._common.threads import default_threads
from dsgd.data import load_libsvm, make_text_classification, save_libsvm

CONSOLE = Console(width=110)


def main() -> None:
    """Run all parts and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000, help="rows of the generated set")
    rows = parser.parse_args().rows
    table = Table("data", "algorithm", "threads", "passes", "seconds", "M non-zeros/s", "objective", "test accuracy")
    with tempfile.TemporaryDirectory(prefix="dsgd-demo-") as folder:
        digits(table)
        text(table, rows, Path(folder))
    CONSOLE.print(table)
    distributed(min(rows, 20_000))


def digits(table: Table) -> None:
    """Train on handwritten digits: an 8 against the rest."""
    CONSOLE.rule("digits of scikit-learn: 8 against the rest")
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16.0, y == 8, test_size=0.3, random_state=0, stratify=y)
    for algo in ("sgd", "hogwild"):
        result = dsgd.fit(X, y, algo=algo, loss="logistic", eval_set=(X_test, y_test), random_state=0)
        add_row(table, "digits", result, 1 if algo == "sgd" else default_threads(), int(np.count_nonzero(X)))


def text(table: Table, rows: int, folder: Path) -> None:
    """Generate documents, write and read them as libsvm text, train with one thread and with all, save, reload."""
    CONSOLE.rule(f"documents of the shape of RCV1-v2: {rows:,} rows, 47,236 features")
    X, y = timed("generated", lambda: make_text_classification(rows, random_state=0))
    path = folder / "documents.svm"
    timed("written as libsvm text", lambda: save_libsvm(path, X, y))
    X, y = timed(
        f"read back ({path.stat().st_size / 1e6:.0f} MB)",
        lambda: load_libsvm(path, n_features=X.shape[1], dtype=np.float32),
    )
    held_out = rows // 10
    X, y, X_test, y_test = X[held_out:], y[held_out:], X[:held_out], y[:held_out]
    result = None
    for threads in sorted({1, default_threads()}):
        CONSOLE.print(f"hogwild, {threads} thread{'s' if threads > 1 else ''}")
        result = dsgd.fit(
            X,
            y,
            algo="hogwild",
            alpha=1e-5,
            max_epochs=10,
            n_threads=threads,
            eval_set=(X_test, y_test),
            progress=True,
            random_state=0,
        )
        add_row(table, "documents", result, threads, X.nnz)
    assert result is not None
    result.save(folder / "model.safetensors")
    loaded = dsgd.load(folder / "model.safetensors")
    agree = bool((loaded.predict(X_test) == result.predict(X_test)).all())
    CONSOLE.print(
        f"saved, reloaded ({(folder / 'model.safetensors').stat().st_size / 1e3:.0f} kB), predicted {held_out:,} "
        f"held-out rows: the same predictions: {agree}; accuracy {loaded.score(X_test, y_test):.4f}"
    )
    if not agree:
        raise SystemExit("the reloaded model predicts something else")


def distributed(rows: int) -> None:
    """Train on four processes that talk to a parameter server over TCP, and on the same cluster in virtual time."""
    CONSOLE.rule(f"DisSVRG on four workers, one at half speed: {rows:,} documents")
    X, y = make_text_classification(rows, random_state=1)
    speeds = (1.0, 1.0, 1.0, 0.5)
    table = Table("cluster", "staleness", "seconds", "clocks", "waiting, s", "MB on the wire", "objective")
    for staleness in (3, 0):
        weights = []
        for name, cluster in (
            ("processes", dsgd.LocalCluster(workers=4, speeds=speeds)),
            ("simulated", dsgd.Simulation(workers=4, speeds=speeds, bandwidth=2e9, latency=5e-5, trace=False)),
        ):
            result = dsgd.fit(
                X,
                y,
                algo="dissvrg",
                staleness=staleness,
                loss="logistic",
                max_epochs=10,
                cluster=cluster,
                random_state=0,
                progress=staleness == 3 and name == "processes",
            )
            weights.append(result.model.weights)
            last = result.history[-1]
            waiting, moved = last.waiting or (), sum(last.bytes_sent or ()) + sum(last.bytes_received or ())
            table.add_row(
                name,
                str(staleness),
                f"{last.seconds:.2f}" if last.virtual_seconds is None else f"{last.virtual_seconds:.2f} virtual",
                str(min(last.clocks or ())),
                f"{min(waiting):.2f} to {max(waiting):.2f}",
                f"{moved / 1e6:.1f}",
                f"{last.objective:.6f}",
            )
        if staleness == 0:
            same = np.array_equal(weights[0], weights[1])
            CONSOLE.print(f"without staleness processes and simulation give the same weights, bit for bit: {same}")
    CONSOLE.print(table)


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Return the result of `work` and print how long it took."""
    start = time.perf_counter()
    result = work()
    CONSOLE.print(f"{what}: {time.perf_counter() - start:.1f} s")
    return result


def add_row(table: Table, name: str, result: dsgd.FitResult, threads: int, nonzeros: int) -> None:
    """Add a row with the figures of a fit."""
    last = result.history[-1]
    table.add_row(
        name,
        result.algorithm.name,
        str(threads),
        f"{last.effective_passes:.0f}",
        f"{last.seconds:.3f}",
        f"{nonzeros * result.history.passes_per_second() / 1e6:.0f}",
        f"{last.objective:.5f}",
        f"{last.score:.4f}",
    )


if __name__ == "__main__":
    main()
