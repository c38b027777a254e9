"""Peak memory of training on data much larger than a cache: one pass over 2 million rows of 20 million features.

    python bench/studies/memory.py

Draws the data (36 non-zeros a row, float32) in one process, writes it to a cache file in a temporary folder, and trains
in fresh processes: once on the mapped file, once on arrays in memory. It prints the peak of the whole process while it
trains (VmHWM: the interpreter, the libraries and, of the mapped file, what is in memory) as a multiple of the bytes of
the CSR arrays, and ends with status 1 from 3 on. DSGD_BENCH_ROWS sets the rows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

import dsgd

ROWS = int(os.environ.get("DSGD_BENCH_ROWS", "2000000"))
FEATURES, WORDS, LIMIT = 20_000_000, 36, 3.0


def generate(path: str) -> None:
    X, y = dsgd.data.make_text_classification(ROWS, n_features=FEATURES, words_per_sample=WORDS, random_state=0)
    dsgd.data.Dataset(X=X, y=y).save(path)


def train(path: str, source: str) -> None:
    """Train on the cache file, mapped or as arrays; print memory, seconds and objective."""
    data = dsgd.data.load(path)
    X, y = data.X, np.array(data.y)
    if source == "arrays":
        X = scipy.sparse.csr_array((np.array(X.data), np.array(X.indices), np.array(X.indptr)), shape=X.shape)
    del data
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here: the arrays exist, the map is gone
    result = dsgd.fit(X, y, algo="hogwild", max_epochs=1, random_state=0)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = 1024 * int(status["VmHWM"].split()[0])
    size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    seconds, objective = result.history[-1].seconds, result.history[-1].objective
    print(json.dumps({"csr": size, "peak": peak, "nonzeros": X.nnz, "seconds": seconds, "objective": objective}))


def fresh(*arguments: str) -> str:
    """Return what this program prints, run with these arguments in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    """Measure, print, and return the exit status."""
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "data.cache")
        fresh("generate", path)
        for source in ("map", "arrays"):
            measured: dict[str, Any] = json.loads(fresh("train", path, source))
            ratio = measured["peak"] / measured["csr"]
            status |= ratio >= LIMIT
            print(
                f"{source:6}: {ROWS} rows, {FEATURES} features, {measured['nonzeros']} non-zeros, CSR of "
                f"{measured['csr'] / 1e6:.0f} MB; peak {measured['peak'] / 1e6:.0f} MB, {ratio:.2f} times that; "
                f"one pass in {measured['seconds']:.2f} s, objective {measured['objective']:.4f}"
            )
    return status


if __name__ == "__main__":
    if sys.argv[1:2] == ["generate"]:
        generate(sys.argv[2])
    elif sys.argv[1:2] == ["train"]:
        train(sys.argv[2], sys.argv[3])
    else:
        sys.exit(main())
