"""The command line on real data, untuned, beside scikit-learn (check 2 of the main job)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.real_sets import Parts
from studies.defaults import ALPHA, PASSES, peer_scores


@pytest.mark.parametrize(
    ("name", "file", "option"),
    [("reuters", "reuters_earn", ""), ("20news", "20news", "--positive 3"), ("a9a", "a9a", "")],
)
def test_the_command_line_is_as_accurate_as_scikit_learn(
    name: str,
    file: str,
    option: str,
    real_data: Callable[[str], Path],
    real_set: Callable[[str], Parts],
    tmp_path: Path,
) -> None:
    files = ["fit", real_data(f"{file}_train.svm"), "--test", real_data(f"{file}_test.svm"), "--history", "history"]
    settings = f"--algo hogwild --alpha {ALPHA} --max-epochs {PASSES} --threads 2 --seed 0 --quiet {option}"
    command = [sys.executable, "-m", "dsgd", *map(str, files), *settings.split()]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120, stdout=subprocess.DEVNULL)
    score = json.loads((tmp_path / "history").read_text())[-1]["score"]
    assert score >= np.median(peer_scores(real_set(name).binary(), range(5))) - 0.005
