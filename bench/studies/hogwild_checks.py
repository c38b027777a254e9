"""The bounds that Hogwild! must keep on two cores: a line per figure, with its bound, if any.

    python bench/studies/hogwild_checks.py --output docs/results/hogwild_checks.json

Hinge loss, l2 with alpha 1e-5, float32, the whole `fit` with validation and packing, history
evaluation off. Solvers on a data set are timed in turn, round by round, and a figure is a ratio of
medians. The time of a marginal pass is a tenth of the difference between 20 passes and 10. The step
size is given, as for the other libraries, unless a figure says "searched". Exits with 1 if a bound
is missed. Needs the extra "bench"; real sets that are absent are named and left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from rich.console import Console
from rich.table import Table

from common.ceiling import read
from common.machine import command, machine, save
from common.passes import Solver, ours, scikit_learn, snap_ml
from common.rounds import interleaved, positive
from common.workloads import WORKLOADS, Workload
from dsgd._common.files import check_replaceable
from studies.threads import LOSSES
from studies.threads import measure as measure_threads

PASSES = 10
MARGINAL, WHOLE, CONTENDED = (PASSES, 2 * PASSES), (PASSES,), (1, PASSES, 5 * PASSES)
SMALL = 50_000  # rows; fits on fewer take milliseconds and are timed in five times as many rounds
SOLVERS: dict[str, Solver] = {
    "one thread": ours(n_threads=1),
    "two threads": ours(n_threads=2),
    "one thread, step searched": ours(n_threads=1, search=True),
    "two threads, step searched": ours(n_threads=2, search=True),
    "memory order": ours(n_threads=1, block_size=2**31 - 1),
    "single rows": ours(n_threads=1, block_size=1),
    "scikit-learn": scikit_learn(),
    "Snap ML": snap_ml(2),
}


class Bound(NamedTuple):
    """A limit that a figure must reach, or with `most` one that it must not exceed."""

    limit: float
    most: bool = False

    def keeps(self, figure: float) -> bool:
        """Whether the figure is on the right side."""
        return figure <= self.limit if self.most else figure >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.most else '>='} {self.limit:g}"


class Finding(NamedTuple):
    """A figure of a check; one without a bound is there to compare with."""

    check: int
    what: str
    figure: float
    bound: Bound | None = None

    @property
    def verdict(self) -> str:
        """Whether the bound is kept or missed; empty without a bound."""
        if self.bound is None:
            return ""
        return "kept" if self.bound.keeps(self.figure) else "missed"


class Times:
    """Seconds of solvers, and of reading the data, taken in turn on one data set."""

    def __init__(self, data: Workload, passes: dict[str, Sequence[int]], rounds: int) -> None:
        self.data, self.rounds = data, rounds
        candidates: dict[str, Callable[[], object]] = {
            f"{name}, {count} passes": partial(SOLVERS[name].fit, data, count)
            for name, counts in passes.items()
            for count in counts
        }
        for threads in (1, 2):
            candidates[f"reading on {threads}, {PASSES} passes"] = partial(read, data, threads, PASSES)
        self.seconds = interleaved(candidates, rounds if len(data.y) >= SMALL else 5 * rounds)

    def whole(self, name: str, passes: int = PASSES) -> float:
        """Return the median seconds of a whole fit, or of as many readings of the data."""
        return float(np.median(self.seconds[f"{name}, {passes} passes"]))

    def marginal(self, name: str) -> float:
        """Return the median seconds of one more pass, from fits of the same round."""
        few, many = (np.array(self.seconds[f"{name}, {passes} passes"]) for passes in MARGINAL)
        return float(np.median(many - few)) / (MARGINAL[1] - MARGINAL[0])

    def above(self, name: str, other: str) -> float:
        """Return the relative excess of `other`'s objective over `name`'s, at the first seed."""
        ends = [SOLVERS[solver].objective(self.data, PASSES) for solver in (name, other)]
        return ends[1] / ends[0] - 1

    def worsening(self, **options: Any) -> float:
        """Return the relative excess of two threads' objective over that of one.

        It is the median over as many seeds as rounds.
        """
        ends = [
            [ours(n_threads=n, random_state=seed, **options).objective(self.data, PASSES) for n in (1, 2)]
            for seed in range(self.rounds)
        ]
        return float(np.median([two / one - 1 for one, two in ends]))


def beside_scikit_learn(times: Times) -> Iterator[Finding]:
    """Check 1: one thread beside scikit-learn."""
    for name in ("one thread", "one thread, step searched"):
        yield Finding(1, f"scikit-learn / {name}, 10 passes", times.whole("scikit-learn") / times.whole(name), Bound(4))
        yield Finding(1, f"objective, {name} / scikit-learn - 1", times.above("scikit-learn", name))


def on_two_threads(times: Times, least: float) -> Iterator[Finding]:
    """Check 2: two threads beside one, by time and by objective."""
    one, two = "one thread", "two threads"
    yield Finding(2, "one thread / two, marginal pass", times.marginal(one) / times.marginal(two), Bound(least))
    yield Finding(2, "one thread / two, 10 passes", times.whole(one) / times.whole(two))
    for search, what in ((False, ""), (True, ", step searched")):
        most = Bound(0.005, most=True)
        yield Finding(2, f"objective, two threads / one - 1{what}", times.worsening(search=search), most)


def of_documents(times: Times) -> Iterator[Finding]:
    """Check 1 to 4, on data larger than the cache."""
    yield from beside_scikit_learn(times)
    yield from on_two_threads(times, 1.5)
    two, order = times.marginal("two threads"), times.marginal("memory order")
    # No marginal pass: Snap ML passes over ever fewer rows, so that 40 take hardly longer than 10.
    whole = times.whole("Snap ML") / times.whole("two threads")
    yield Finding(3, "Snap ML / dsgd, two threads, 10 passes", whole, Bound(3))
    yield Finding(3, "objective, dsgd / Snap ML - 1, two threads", times.above("Snap ML", "two threads"))
    reading = times.whole("reading on 2") / PASSES
    yield Finding(3, "reading / marginal pass, two threads", reading / two, Bound(0.25))
    most = Bound(1.5, most=True)
    yield Finding(4, "default order / memory order, marginal pass", times.marginal("one thread") / order, most)
    yield Finding(4, "rows shuffled singly / memory order, marginal pass", times.marginal("single rows") / order)


def of_dense(times: Times) -> Iterator[Finding]:
    """Check 5: dense rows beside the reading of memory."""
    reading = times.whole("reading on 1")
    yield Finding(5, "reading / fit, one thread, 10 passes", reading / times.whole("one thread"), Bound(0.4))
    marginal = times.marginal("one thread")
    yield Finding(5, "reading / marginal pass, one thread", reading / PASSES / marginal)


def of_contention(times: Times) -> Iterator[Finding]:
    """Check 6: the defaults, for runs of several lengths, on data with contention of threads."""
    for passes in CONTENDED:
        one, two = (times.whole(f"{threads}, step searched", passes) for threads in ("one thread", "two threads"))
        yield Finding(6, f"two threads / one, defaults, {passes} passes", two / one, Bound(1.05, most=True))


def beside_the_machine(data: Workload, rounds: int) -> Iterator[Finding]:
    """Check 7: the gain of two threads beside that of two processes (threads.py)."""
    for loss in LOSSES:
        row = measure_threads(data, "hogwild", loss, rounds, rounds, processor_time=False)
        yield Finding(7, f"gain of two threads / what the machine allows, {loss}", row["quotient"], Bound(0.9))
        rise = row["two threads / one - 1"]
        yield Finding(7, f"objective, two threads / one - 1, {loss}", rise, Bound(0.005, most=True))


# For each data set: the solvers with their numbers of passes, and the function of the findings.
PLANS: dict[str, tuple[dict[str, Sequence[int]], Callable[[Times], Iterator[Finding]]]] = {
    "documents": (
        {
            "scikit-learn": WHOLE,
            "one thread, step searched": WHOLE,
            "Snap ML": WHOLE,
            **dict.fromkeys(("one thread", "two threads", "memory order", "single rows"), MARGINAL),
        },
        of_documents,
    ),
    "first-20000": (
        dict.fromkeys(("one thread", "two threads"), MARGINAL),
        partial(on_two_threads, least=1.4),
    ),
    "20news": (
        dict.fromkeys(("scikit-learn", "one thread", "one thread, step searched"), WHOLE),
        beside_scikit_learn,
    ),
    "mnist": ({"one thread": MARGINAL}, of_dense),
    "contention": (
        dict.fromkeys(("one thread, step searched", "two threads, step searched"), CONTENDED),
        of_contention,
    ),
}


def measure(rows: int, rounds: int, console: Console) -> tuple[list[Finding], dict[str, Any]]:
    """Return the findings on every data set that is there, by check, and their seconds."""
    found: list[Finding] = []
    seconds: dict[str, Any] = {}
    for name, (passes, findings) in PLANS.items():
        try:
            data = WORKLOADS[name](rows)
        except FileNotFoundError as error:
            console.print(f"{name}: skipped, {error.filename} is not there; set DSGD_DATA to the folder of real data")
            continue
        times = Times(data, passes, rounds)
        for finding in (*findings(times), *beside_the_machine(data, rounds)):
            found.append(finding._replace(what=f"{name}: {finding.what}"))
        seconds[name] = times.seconds
        console.print(f"{name}: {len(data.y)} rows, {data.entries} entries measured")
    return sorted(found, key=lambda finding: finding.check), seconds


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=positive, default=300_000, help="most rows of a data set")
    parser.add_argument("--rounds", type=positive, default=5, help="fits of each kind, five times as many on few rows")
    parser.add_argument("--output", type=Path, help="JSON file for figures, seconds, machine and command")
    options = parser.parse_args(arguments)
    if missing := [solver.missing for solver in SOLVERS.values() if solver.missing]:
        sys.exit(missing[0])
    if options.output:
        check_replaceable(options.output)
    console = Console(width=120)
    found, seconds = measure(options.rows, options.rounds, console)
    table = Table("check", "what", "figure", "bound", "")
    for finding in found:
        bound = "" if finding.bound is None else str(finding.bound)
        table.add_row(str(finding.check), finding.what, f"{finding.figure:.4g}", bound, finding.verdict)
    console.print(table)
    if options.output:
        figures = [
            {
                "check": f.check,
                "what": f.what,
                "figure": f.figure,
                "bound": f.bound and str(f.bound),
                "verdict": f.verdict,
            }
            for f in found
        ]
        made_by = {"command": command(__file__, arguments), "machine": machine()}
        save(options.output, {**made_by, "figures": figures, "seconds": seconds})
    return int(any(finding.verdict == "missed" for finding in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
