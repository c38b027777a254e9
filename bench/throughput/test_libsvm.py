"""libsvm text of the shape of RCV1-v2 to a matrix in memory: dsgd beside XGBoost and scikit-learn, two threads.

Every reader goes from the path of one file to a matrix it can train on. dsgd: float32 values, int32 indices. XGBoost:
`DMatrix` with two threads (float32 too). scikit-learn: float32, one thread, as it has no more. DSGD_BENCH_ROWS sets the
size; 300,000 rows are 330 MB of text. Run by `make bench`.

The last test measures memory. A process that reads the file with dsgd samples its own anonymous
memory from a second thread (Anonymous of /proc/self/smaps_rollup, without the mapped text, which
the system can drop). The highest sample, less the memory before, is compared with the bytes of the
matrix and the labels.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sklearn.datasets import load_svmlight_file

import dsgd

ROWS = int(os.environ.get("DSGD_BENCH_ROWS", "300000"))
THREADS = 2


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of documents of the shape of RCV1-v2."""
    path = tmp_path_factory.mktemp("libsvm") / "documents.svm"
    dsgd.data.save_libsvm(path, *dsgd.data.make_text_classification(ROWS, random_state=0))
    return path


def with_dsgd(path: Path) -> int:
    """Return the entries that dsgd reads."""
    return int(dsgd.data.load_libsvm(path, dtype=np.float32, n_threads=THREADS)[0].nnz)


def with_xgboost(path: Path) -> int:
    """Return the entries that XGBoost reads."""
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed: pip install '.[bench]'")
    return int(xgboost.DMatrix(f"{path}?format=libsvm", nthread=THREADS, silent=True).num_nonmissing())


def with_scikit_learn(path: Path) -> int:
    """Return the entries that scikit-learn reads."""
    return int(load_svmlight_file(str(path), dtype=np.float32)[0].nnz)


READERS: dict[str, Callable[[Path], int]] = {
    "dsgd": with_dsgd,
    "xgboost": with_xgboost,
    "scikit-learn": with_scikit_learn,
}


@pytest.mark.benchmark(group=f"libsvm text, {ROWS} documents, {THREADS} threads")
@pytest.mark.filterwarnings("ignore::UserWarning:xgboost", "ignore::FutureWarning:xgboost")
@pytest.mark.parametrize("reader", READERS)
def test_read_libsvm(benchmark: BenchmarkFixture, text: Path, reader: str) -> None:
    entries = benchmark.pedantic(READERS[reader], args=(text,), rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]
    if benchmark.stats is not None:
        benchmark.extra_info["MB/s"] = round(text.stat().st_size / benchmark.stats.stats.median / 1e6)
    assert entries == with_dsgd(text)


_SAMPLER = """
import json, re, sys, threading
from pathlib import Path
import numpy as np, dsgd

def anonymous():
    return 1024 * int(re.search(r"^Anonymous: +([0-9]+) kB", Path("/proc/self/smaps_rollup").read_text(), re.M)[1])

def sample():
    while not done.wait(0.002):
        samples.append(anonymous())

Path("warm.svm").write_text("1 1:1\\n")
dsgd.data.load_libsvm("warm.svm", n_threads=2)  # starts the threads
samples, done = [anonymous()], threading.Event()
thread = threading.Thread(target=sample)
thread.start()
X, y = dsgd.data.load_libsvm(sys.argv[1], dtype=np.float32, n_threads=2)
done.set()
thread.join()
samples.append(anonymous())
size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes + y.nbytes
print(json.dumps({"peak": max(samples) - samples[0], "result": size, "samples": len(samples)}))
"""


def test_memory_of_reading(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", _SAMPLER, str(text)]
    done = subprocess.run(command, cwd=text.parent, capture_output=True, text=True, timeout=300, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    ratio = measured["peak"] / measured["result"]
    with capsys.disabled():
        print(f"\nanonymous memory at its peak: {ratio:.2f} times the result of {measured['result'] / 1e6:.0f} MB")
    assert ratio < 1.3 or measured["result"] < 50_000_000  # a process needs more than a small result anyway
