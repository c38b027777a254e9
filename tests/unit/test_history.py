from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dsgd.errors import DataError
from dsgd.results.history import History, Record
from dsgd.results.progress import ProgressReport

RECORDS = [
    Record(epoch=1, effective_passes=1.0, seconds=0.1, step_size=0.5),
    Record(epoch=2, effective_passes=2.0, seconds=0.25, step_size=0.4, objective=1 / 3, score=0.9, gap=0.02),
]


def test_json_round_trip(tmp_path: Path) -> None:
    history = History(RECORDS)
    text = history.to_json(tmp_path / "history.json")
    assert (tmp_path / "history.json").read_text() == text
    assert json.loads(text)[1]["objective"] == 1 / 3
    assert json.loads(text)[0]["objective"] is None
    assert [record["gap"] for record in json.loads(text)] == [None, 0.02]
    assert History.from_json(text) == history
    assert History.from_json(History().to_json()) == History()


def test_a_history_without_the_mark_of_exact_objectives_is_read_as_exact() -> None:
    summed = replace(RECORDS[1], exact=False)
    text = History([summed]).to_json()
    assert History.from_json(text)[0] == summed
    old = json.loads(text)
    del old[0]["exact"]  # as it was before there were others
    assert History.from_json(json.dumps(old))[0] == RECORDS[1]
    with pytest.raises(DataError, match="exact must be True or False"):
        History.from_json(text.replace("false", "3"))


def test_the_first_epoch_does_not_count_for_the_speed() -> None:
    assert History(RECORDS).passes_per_second() == pytest.approx(1 / 0.15)
    assert History(RECORDS[:1]).passes_per_second() == pytest.approx(1 / 0.1)


def test_what_is_not_a_history_is_refused() -> None:
    for text in ("", "{", "[1]", '[{"epoch": 1}]', "3"):
        with pytest.raises(DataError, match="not a history of dsgd"):
            History.from_json(text)


def test_to_frame() -> None:
    frame = History(RECORDS).to_frame()
    assert frame.columns.tolist() == [
        "epoch",
        "effective_passes",
        "seconds",
        "step_size",
        "objective",
        "loss",
        "exact",
        "score",
        "gap",
        "delay",
        "virtual_seconds",
        "clocks",
        "waiting",
        "staleness",
        "bytes_sent",
        "bytes_received",
        "counts",
    ]
    assert frame["epoch"].tolist() == [1, 2]
    assert np.isnan(frame["objective"][0])
    assert frame["score"][1] == 0.9
    assert np.isnan(frame["gap"][0])
    assert frame["gap"][1] == 0.02
    assert len(History().to_frame()) == 0


def test_without_pandas_to_frame_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas: pip install pandas"):
        History(RECORDS).to_frame()


def test_it_is_a_sequence() -> None:
    history = History(RECORDS)
    assert len(history) == 2
    assert history[-1] is RECORDS[1]
    assert history[:1] == History(RECORDS[:1])
    assert list(history) == RECORDS
    assert "2 records" in repr(history)


def test_progress_on_a_terminal_is_a_bar() -> None:
    text = io.StringIO()
    with ProgressReport(2, Console(file=text, force_terminal=True, width=100)) as report:
        for record in RECORDS:
            report.show(record)
    assert "━" in text.getvalue()
    assert "2/2" in text.getvalue()
    assert "score 0.9000" in text.getvalue()
