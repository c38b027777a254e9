"""Tests that the scripts of `bench` run on few rows and write their files.

Their measurements are not checked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsgd
from common.optimum import optimum
from common.passes import Solver, snap_ml, xgboost
from common.problems import SETS
from common.real_sets import present
from common.workloads import Workload
from papers import hogwild, sdca
from peers import kmeans, out_of_the_box, report, time_to_accuracy
from peers.defaults import ENTRIES
from peers.solvers import PEERS
from studies import auto, auto_gap, hogwild_checks, softmax


def needs(*solvers: Solver) -> None:
    """Skip the test where a library is missing."""
    for missing in filter(None, (solver.missing for solver in solvers)):
        pytest.skip(missing)


def test_every_check_of_hogwild_has_a_figure(tmp_path: Path) -> None:
    needs(*hogwild_checks.SOLVERS.values())
    output = tmp_path / "checks.json"
    arguments = ["--rows", "2000", "--rounds", "1", "--output", str(output)]
    assert hogwild_checks.main(arguments) in (0, 1)
    written = json.loads(output.read_text())
    measured = {"documents": {1, 2, 3, 4}, "first-20000": {2}, "20news": {1}, "mnist": {5}, "contention": {6}}
    expected = {7}.union(*(measured[name] for name in written["seconds"]))  # check 7 is for every set
    assert {figure["check"] for figure in written["figures"] if figure["bound"]} == expected
    assert written["command"].startswith("python bench/studies/hogwild_checks.py --rows 2000")
    assert written["machine"]["cores"] > 0


def test_the_comparison_of_the_hogwild_paper_is_drawn(tmp_path: Path) -> None:
    figure = tmp_path / "hogwild.png"
    hogwild.main(["--rows", "2000", "--epochs", "2", "--threads", "1", "--output", str(figure)])
    assert figure.read_bytes().startswith(b"\x89PNG")
    written = json.loads(figure.with_suffix(".json").read_text())["results"]["documents"]
    assert {point["method"] for point in written["points"]} == set(hogwild.METHODS)
    assert sum(written["delay"].values()) == 2 * 2000
    assert "the paper's order" in written["ordering"]


def test_the_gaps_of_dual_coordinate_ascent_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="finds the optimum")
    figure = tmp_path / "sdca.png"
    kept = ["--optima", str(tmp_path / "optima.json"), "--output", str(figure)]
    sdca.main(["--set", "documents-20000", "--rows", "400", "--epochs", "3", *kept])
    assert figure.read_bytes().startswith(b"\x89PNG")
    written = json.loads(figure.with_suffix(".json").read_text())["results"]
    assert len(written) == len(sdca.CONFIGURATIONS)
    for curve in written.values():
        assert len(curve["points"]) == 3
        assert all(0 < point["suboptimality"] <= point["gap"] * (1 + 1e-9) for point in curve["points"])


def test_what_auto_rests_on_is_drawn(tmp_path: Path) -> None:
    if not present():
        pytest.skip("the real data sets are not there")
    figure = tmp_path / "auto.png"
    auto.main(["--sets", "a9a", "--rows", "400", "--rounds", "1", "--output", str(figure)])
    assert figure.read_bytes().startswith(b"\x89PNG")
    points = json.loads(figure.with_suffix(".json").read_text())["points"]
    assert len(points) == len(auto.LOSSES) * len(auto.ALPHAS)
    assert all(point["ratio"] > 0 for point in points)


def test_what_a_change_in_the_middle_could_save_is_written(tmp_path: Path) -> None:
    output = tmp_path / "auto_gap.json"
    auto_gap.main(["--rows", "300", "--rounds", "1", "--output", str(output)])
    rows = json.loads(output.read_text())["results"]
    assert len(rows) == len(auto_gap.SHAPES) * len(auto_gap.CONDITIONS) * len(auto_gap.TOLERANCES)
    assert all(row["sdca / svrg"] > 0 for row in rows)


def reach(tmp_path: Path, *arguments: str) -> Any:
    """Return what the script of time to accuracy writes on a few documents."""
    output = tmp_path / "times.json"
    few = ["--sets", "documents-20000", "--rows", "400", "--alphas", "1e-3", "--rounds", "1"]
    kept = ["--optima", str(tmp_path / "optima.json"), "--output", str(output)]
    time_to_accuracy.main([*few, *kept, *arguments])
    return json.loads(output.read_text())


def test_the_times_to_accuracy_are_told_of_every_solver_and_drawn(tmp_path: Path) -> None:
    for missing in filter(None, (peer.missing for peer in PEERS.values())):
        pytest.skip(missing)
    results = reach(tmp_path)["results"]
    for title, result in results.items():
        loss = title.split(", ")[1]
        assert set(result["peers"]) == {name for name, peer in PEERS.items() if loss in peer.losses}
        assert result["ours"]["sgd"]["ladder"]
    assert len(results) == 2
    assert (tmp_path / "times.png").read_bytes().startswith(b"\x89PNG")
    former = tmp_path / "former.json"
    (tmp_path / "times.json").rename(former)
    again = reach(tmp_path, "--no-peers", "--former", str(former), "--ours", "sgd", "--losses", "hinge")["results"]
    for title, result in again.items():
        assert 1 <= len(result["peers"]) <= 2  # the best to either target
        assert set(result["peers"]) <= set(results[title]["peers"])
        assert set(result["ours"]) == {"sgd"}


def test_modes_tell_passes_known_in_advance_from_a_proven_accuracy() -> None:
    def solver(stopping: str, seconds: float | None) -> dict[str, Any]:
        return {"stopping": stopping, "targets": {} if seconds is None else {"0.1": {"median": seconds, "setting": 1}}}

    def problem(sgd: float, auto: float, gap: float | None) -> dict[str, Any]:
        ours = {"sgd": solver("max_epochs", sgd), "auto": solver("max_epochs", auto), "gap": solver("gap_tol", gap)}
        return {"targets": ["0.1"], "peers": {"peer": solver("eps", 1.0)}, "ours": ours}

    results = {"a": problem(2.0, 0.25, 0.5), "b": problem(0.5, 1.0, None)}
    found = {mode.name: (round(mode.mean, 9), *mode[2:]) for mode in report.modes(results)}
    assert found["sgd"] == (1.0, 2, 1, 0)
    assert found["best by max_epochs"] == (round(8**0.5, 9), 2, 0, 0)
    assert found["best by gap_tol"] == found["gap"] == (2.0, 2, 1, 1)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.filterwarnings("ignore")  # of runs that are ended before they converged
def test_a_peer_comes_close_to_the_certified_optimum(name: str, tmp_path: Path) -> None:
    peer = PEERS[name]
    if peer.missing:
        pytest.skip(peer.missing)
    [problem] = SETS["documents-20000"](400, (peer.losses[0],), (0.01,))  # 1.5 alpha would end 0.5 % above, or more
    best = optimum(problem, tmp_path / "optima.json")
    assert best == optimum(problem, tmp_path / "optima.json")
    w = peer.prepare(problem)(peer.ladder[-1], 0)()
    assert -1e-9 < best.suboptimality(problem.objective(np.asarray(w, float))) < 2e-3


@pytest.mark.parametrize("solver", [snap_ml(1), xgboost(1)], ids=["snapml", "xgboost"])
def test_a_peer_minimises_the_objective_that_it_is_compared_by(solver: Solver) -> None:
    needs(solver)
    # Many rows per feature and a strong penalty: with a penalty of 1.5 alpha the minimum would be 1
    # % off.
    X, y = dsgd.data.make_text_classification(2000, n_features=50, words_per_sample=10, random_state=0)
    data = Workload.of(X, y, alpha=0.01)
    least = dsgd.fit(data.X, data.y, algo="batch", loss=solver.loss, alpha=0.01, max_epochs=500)
    assert solver.objective(data, 300) == pytest.approx(least.history[-1].objective, rel=1e-3)


def test_a_workload_knows_the_objective_that_fit_reports() -> None:
    data = Workload.of(*dsgd.data.make_text_classification(500, random_state=0), alpha=1e-3)
    result = dsgd.fit(data.X, data.y, algo="sgd", alpha=1e-3, max_epochs=3, random_state=0)
    w, b = result.coef_.astype(float), float(result.intercept_)
    assert data.objective(w, b) == pytest.approx(result.history[-1].objective, rel=1e-5)


def test_softmax_is_drawn(tmp_path: Path) -> None:
    if not present():
        pytest.skip("the real data sets are not there")
    figure = tmp_path / "softmax.png"
    assert softmax.main(["--rounds", "1", "--rows", "400", "--output", str(figure)]) in (0, 1)
    assert figure.read_bytes().startswith(b"\x89PNG")
    written = json.loads(figure.with_suffix(".json").read_text())["results"]
    assert {name: set(found) for name, found in written.items()} == {name: set(softmax.RUNS) for name in softmax.NAMES}


def test_kmeans_is_measured(tmp_path: Path) -> None:
    """On part of the rows a bound may not be kept, which is no error of the script."""
    if not present():
        pytest.skip("the real data sets are not there")
    written = tmp_path / "kmeans.json"
    assert kmeans.main(["--rounds", "1", "--rows", "4000", "--passes", "1", "--output", str(written)]) in (0, 1)
    assert set(json.loads(written.read_text())["sets"]) == set(kmeans.NAMES)


@pytest.mark.parametrize("task", ["a9a", "casp", "mnist, 10 clusters"])
def test_every_library_is_measured_out_of_the_box(task: str, tmp_path: Path) -> None:
    if not present():
        pytest.skip("the real data sets are not there")
    output = tmp_path / "box.json"
    few = ["--rounds", "1", "--rows", "400", "--reference", "0.2", "--cap", "1000"]
    out_of_the_box.main(["--tasks", task, *few, "--output", str(output)])
    found = json.loads(output.read_text())["tasks"][task]
    assert set(found["entries"]) == {name for name, entry in ENTRIES[found["kind"]]().items() if not entry.missing}
    assert all(entry["median"] > 0 and np.isfinite(entry["score"]) for entry in found["entries"].values())
    excess = {n: entry["suboptimality"] for n, entry in found["entries"].items() if "suboptimality" in entry}
    assert min(excess.values()) >= 0
    assert excess["dsgd.KMeans" if "clusters" in task else "dsgd.fit auto"] < 0.3
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
