"""Time to a given accuracy of the same objective: dsgd beside other libraries, in one run.

    python bench/peers/time_to_accuracy.py --output docs/results/time_to_accuracy.json

The other libraries are LIBLINEAR, Snap ML, Cyanure and scikit-learn. The objective is F(w) = (1/n)
sum loss(y_i w.x_i) + alpha/2 ||w||^2 without an intercept; the data is float32 CSR in memory. The
target is a relative suboptimality (F - F*) / F*, with an F* that another method certifies.

Every solver has one parameter that ends its run. It runs with the smallest setting of this
parameter that reaches the target, by the median of three seeds if it draws random numbers; finding
the setting is not timed. Then the whole `fit` of all solvers is timed in turn, and medians of the
rounds are reported. A solver that is four times as slow as the best keeps its single time of the
search. LIBLINEAR's structs are made before, and their time is told apart.

The last table has two modes: passes that are known in advance (max_epochs), and the accuracy itself
(gap_tol), in each of which the time of the best peer is divided by that of dsgd. Peers end by their
own parameter in both.

`--no-peers` is for tuning: it takes the best peer and its setting from a former run, and times this
peer alone beside dsgd. Draws a figure beside --output. Results of other problems in that file stay,
so that the sets may be measured one after the other. Needs the extra "bench" and the real data;
sets that are absent are named and left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

from rich.console import Console

from common.machine import ROOT, command, machine, save
from common.optimum import Optimum, optimum
from common.problems import ALPHAS, LOSSES, SETS, Problem
from common.rounds import positive
from dsgd._common.files import check_replaceable
from peers.measure import measure, silent
from peers.report import cells, draw, show
from peers.solvers import OURS, PEERS, Candidate

RESULTS = ROOT / "docs/results"
TARGETS = (0.01, 0.001)


def _listed(known: Sequence[str]) -> Any:
    def parse(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(known)}")
        return chosen

    return parse


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=_listed(list(OURS)), default=tuple(OURS), help=f"of {','.join(OURS)}")
    parser.add_argument("--sets", type=_listed(list(SETS)), default=tuple(SETS), help=f"of {','.join(SETS)}")
    parser.add_argument("--losses", type=_listed(LOSSES), default=LOSSES, help=f"of {','.join(LOSSES)}")
    parser.add_argument("--alphas", type=_numbers, default=ALPHAS, help="strengths of l2, by default 1e-4,1e-5")
    parser.add_argument("--rows", type=positive, default=300_000, help="most rows of a training part")
    parser.add_argument("--rounds", type=positive, default=7, help="fits of each kind")
    parser.add_argument("--no-peers", action="store_true", help="only the best peer, at its setting of --former")
    parser.add_argument("--former", type=Path, default=RESULTS / "time_to_accuracy.json", help="for --no-peers")
    parser.add_argument("--optima", type=Path, default=RESULTS / "time_to_accuracy_optima.json", help="optima kept")
    parser.add_argument("--output", type=Path, help="JSON file for all figures, machine and command; a PNG beside it")
    options = parser.parse_args(arguments)
    if options.no_peers and options.output and options.output.resolve() == options.former.resolve():
        parser.error(f"--no-peers would leave one peer in {options.former}: name another --output")
    return options


def _read(path: Path | None) -> dict[str, Any]:
    """Return the results that a file holds, by problem."""
    results: dict[str, Any] = json.loads(path.read_text())["results"] if path and path.is_file() else {}
    return results


def _result(problem: Problem, best: Optimum, options: argparse.Namespace, stored: Any) -> dict[str, Any]:
    """Return the measurements of one problem; `stored` has the peers of a former run, if given."""
    ours: dict[str, Candidate] = {name: OURS[name] for name in options.ours if not OURS[name].missing}
    with silent(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a run that is ended before it converged
        solvers = {} if stored else PEERS
        found = measure(problem, best, solvers | ours, TARGETS, options.rounds, stored and stored["peers"])
    return {
        "rows": len(problem.data.y),
        "features": problem.data.X.shape[1],
        "entries": problem.data.entries,
        "optimum": asdict(best),
        "targets": [f"{target:g}" for target in TARGETS],
        "stored": (stored["stored"] or stored["command"]) if stored else None,
        "peers": {name: s for name, s in found.items() if name not in ours},
        "ours": {name: s for name, s in found.items() if name in ours},
    }


def main(arguments: Sequence[str]) -> None:
    """Measure, print, write."""
    options = _options(arguments)
    if absent := [peer.missing for peer in PEERS.values() if peer.missing]:
        sys.exit(absent[0])
    figure = options.output and options.output.with_suffix(".png")
    if options.output:
        check_replaceable(options.output)
        check_replaceable(figure)
    console = Console(width=160)
    for name in options.ours:
        if missing := OURS[name].missing:
            console.print(f"{name}: skipped, {missing}")
    results, former = _read(options.output), _read(options.former)
    made_by = {"command": command(__file__, arguments), "machine": machine()}
    for name in options.sets:
        try:
            problems = SETS[name](options.rows, options.losses, options.alphas)
        except FileNotFoundError as error:
            console.print(f"{name}: skipped, {error.filename} is not there; set DSGD_DATA to the folder of real data")
            continue
        for problem in problems:
            stored = former.get(problem.title) if options.no_peers else None
            if options.no_peers and not stored:
                sys.exit(f"{options.former} has no times of the peers on {problem.title}: run without --no-peers first")
            best = optimum(problem, options.optima)
            results[problem.title] = {**made_by, **_result(problem, best, options, stored)}
            for cell in cells({problem.title: results[problem.title]}):
                console.print(f"{cell.title}, to {cell.target}: {cell.ours}, {cell.ratio:.2f} times {cell.peer}")
            if options.output:  # after each problem, because a run takes long
                save(options.output, {"results": results})
    show(console, results)
    if figure:
        draw(figure, results)


if __name__ == "__main__":
    main(sys.argv[1:])
