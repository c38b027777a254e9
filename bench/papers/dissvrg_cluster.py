"""DisSVRG (Ming, Zhao, Guo, Yin) on simulated clusters, beside PetuumSGD, BSP-SVRG and sequential SVRG.

    python bench/papers/dissvrg_cluster.py

The paper promises this comparison, but its section is empty. The loss is squared, and the data is
generated in the shape of YearPredictionMSD. Clusters have 4 to 64 nodes with links of 1 Gb/s and
0.1 ms; all nodes have the same speed, or one has half of it. All runs of SVRG have the same step,
which is just safe with the whole accelerated factor. The step of PetuumSGD is found by trials.
PetuumSGD runs with two sizes of mini-batches, and BSP-SVRG with two mean gradients: exact, or with
the parts of the other nodes one clock old. The better of the two is shown. Sequential SVRG is a run
on one node. Statements of the paper are compared with the curves: "faster" means nearer to the
minimum, by the mean logarithm of the gap over the time that both ran.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

import dsgd
from common.machine import about, save
from dsgd._common.files import replacing
from dsgd.algorithms import DisSvrg, DistributedAlgorithm, Ssp
from papers.year import ALPHA, YearData, generated, log_gaps, options

ROWS = 46_371
NODES = (4, 8, 16, 32, 64)
SPEEDS = ("even", "uneven")
EPOCHS = 40
# Powers of ten of the gap, in the mean, by which a faster run must be nearer.
MARGIN = 0.02

# Epochs. A pass with small mini-batches takes longer, and its simulation does too.
PETUUM = {Ssp(batch_size=64): 12, Ssp(batch_size=512): 50}
VARIANTS: dict[str, tuple[DistributedAlgorithm, ...]] = {
    "PetuumSGD": tuple(PETUUM),
    "BSP-SVRG": (
        DisSvrg(staleness=0, inner_steps_increment=0, gradient="exact"),
        DisSvrg(staleness=0, inner_steps_increment=0),
    ),
    "DisSVRG": (DisSvrg(inner_steps_increment=0),),
    "DisSVRG, adaptive m": (DisSvrg(),),
    "DisSVRG, factor": (DisSvrg(inner_steps_increment=0, max_sigma=1.0),),
    "DisSVRG, both": (DisSvrg(max_sigma=1.0),),
}
STYLES = {
    "sequential SVRG": {"color": "black", "linestyle": ":"},
    "PetuumSGD": {"color": "tab:gray"},
    "BSP-SVRG": {"color": "tab:orange"},
    "DisSVRG": {"color": "tab:blue"},
    "DisSVRG, adaptive m": {"color": "tab:blue", "linestyle": "--"},
    "DisSVRG, factor": {"color": "tab:red"},
    "DisSVRG, both": {"color": "tab:red", "linestyle": "--"},
}
Place = tuple[int, str]


class Run(NamedTuple):
    """Relative gaps at virtual seconds, and the share of its time that each worker waited."""

    seconds: list[float]
    gaps: list[float]
    waiting: list[float]
    algorithm: str


class Claim(NamedTuple):
    """A statement of the paper, whether it holds, and the figures that show it."""

    text: str
    holds: bool
    figures: dict[str, str]


def train(data: YearData, algorithm: DistributedAlgorithm, nodes: int, speeds: str, step: float) -> Run:
    """Run an algorithm from 0 on a cluster; the last node of an uneven one has half the speed."""
    result = dsgd.fit(
        data.X,
        data.y,
        algo=algorithm,
        loss="squared",
        alpha=ALPHA,
        step_size="auto" if algorithm in PETUUM else step,
        schedule="inverse-sqrt" if isinstance(algorithm, Ssp) else "constant",  # as in the papers
        max_epochs=PETUUM.get(algorithm, EPOCHS),  # type: ignore[call-overload]  # of algorithms that are no Ssp
        fit_intercept=False,
        n_threads=1,
        random_state=0,
        cluster=dsgd.Simulation(
            workers=nodes, speeds=[1.0] * (nodes - 1) + [1.0 if speeds == "even" else 0.5], trace=False
        ),
    )
    last = result.history[-1]
    waited = last.waiting or ()
    end = last.virtual_seconds or np.nan
    return Run(
        [0.0, *(float(record.virtual_seconds or np.nan) for record in result.history)],
        [0.5 / data.minimum - 1, *(float(record.objective or np.nan) / data.minimum - 1 for record in result.history)],
        [seconds / end for seconds in waited],
        repr(algorithm),
    )


def lead(fast: Run, slow: Run) -> float:
    """Return by how many powers of ten `fast` is nearer, averaged over the time that both ran."""
    times = np.linspace(0, min(fast.seconds[-1], slow.seconds[-1]), 400)[1:]
    ahead = log_gaps(times, slow.seconds, slow.gaps) - log_gaps(times, fast.seconds, fast.gaps)
    return float(np.mean(ahead))


def faster(runs: Mapping[Place, Mapping[str, Run]], fast: str, slow: str, speeds: Sequence[str]) -> Claim:
    """Return whether one variant is faster than another in all places."""
    leads = {f"{nodes} {kind}": lead(of[fast], of[slow]) for (nodes, kind), of in runs.items() if kind in speeds}
    where = "" if len(speeds) > 1 else f" on {speeds[0]} clusters"
    return Claim(
        f"{fast} is faster than {slow}{where}",
        all(value > MARGIN for value in leads.values()),
        {place: f"10^{value:.2f} nearer" for place, value in leads.items()},
    )


def waits_less(runs: Mapping[Place, Mapping[str, Run]], less: str, more: str) -> Claim:
    """Return whether the workers of full speed on uneven clusters wait less in one variant than in another."""
    shares = {
        str(nodes): tuple(float(np.mean(of[name].waiting[:-1])) for name in (less, more))
        for (nodes, kind), of in runs.items()
        if kind == "uneven"
    }
    return Claim(
        f"on uneven clusters the fast workers of {less} wait less than those of {more}",
        all(a < b for a, b in shares.values()),
        {nodes: f"{a:.0%} instead of {b:.0%} of the time" for nodes, (a, b) in shares.items()},
    )


def claims_of(runs: Mapping[Place, Mapping[str, Run]]) -> Iterator[Claim]:
    """Yield the statements of the paper on clusters, each with whether it holds."""
    yield faster(runs, "DisSVRG", "PetuumSGD", SPEEDS)
    yield faster(runs, "DisSVRG", "sequential SVRG", SPEEDS)
    yield faster(runs, "DisSVRG", "BSP-SVRG", ["uneven"])
    yield waits_less(runs, "DisSVRG", "BSP-SVRG")
    yield waits_less(runs, "DisSVRG, adaptive m", "DisSVRG")
    yield faster(runs, "DisSVRG, adaptive m", "DisSVRG", ["uneven"])
    yield faster(runs, "DisSVRG, factor", "DisSVRG", SPEEDS)


def draw(runs: Mapping[Place, Mapping[str, Run]], path: Path) -> None:
    """Draw gaps against time, and below them how long workers waited on the uneven clusters."""
    figure = Figure(figsize=(4 * len(NODES), 11), layout="constrained")
    panels = figure.subplots(3, len(NODES), squeeze=False)
    for column, nodes in enumerate(NODES):
        for line, speeds in enumerate(SPEEDS):
            axes, of = panels[line][column], runs[nodes, speeds]
            for name, run in of.items():
                axes.plot(np.array(run.seconds) * 1e3, run.gaps, label=name, **STYLES[name])
            ends = [run.seconds[-1] for name, run in of.items() if name.startswith("DisSVRG")]
            axes.set(title=f"{nodes} nodes, {speeds}", xlabel="virtual ms", xlim=(0, 1.5e3 * max(ends)))
            axes.set_yscale("log")
        bars = [name for name in STYLES if name != "sequential SVRG"]
        axes, of = panels[2][column], runs[nodes, "uneven"]
        places = np.arange(len(bars))
        fast = [float(np.mean(of[name].waiting[:-1])) for name in bars]
        axes.barh(places - 0.2, fast, 0.4, label="workers of full speed, mean", color="tab:blue")
        axes.barh(places + 0.2, [of[name].waiting[-1] for name in bars], 0.4, label="the slow one", color="tab:orange")
        axes.set(title=f"{nodes} nodes, uneven", xlabel="share of the time spent waiting", xlim=(0, 1))
        axes.set_yticks(places, bars if column == 0 else [""] * len(bars))
        axes.invert_yaxis()
    for line in (0, 1):
        panels[line][0].set_ylabel("F(w) / F* - 1")
    handles = [*panels[0][0].get_legend_handles_labels()[0], *panels[2][0].get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=100)


def main(arguments: Sequence[str]) -> None:
    """Train, print, draw."""
    asked = options(__doc__ or "", arguments, "dissvrg_cluster.png", ROWS)
    console = Console(width=140)
    data = generated(asked.rows)
    step = 0.9 / (8 * (float((data.X**2).sum(axis=1).max()) + ALPHA))
    sequential = train(data, VARIANTS["BSP-SVRG"][0], 1, "even", step)
    runs: dict[Place, dict[str, Run]] = {}
    for nodes in NODES:
        for speeds in SPEEDS:
            of = runs[nodes, speeds] = {"sequential SVRG": sequential}
            for name, candidates in VARIANTS.items():
                first, *others = (train(data, algorithm, nodes, speeds, step) for algorithm in candidates)
                for other in others:
                    first = other if lead(other, first) > 0 else first
                of[name] = first
            console.print(f"{nodes} nodes, {speeds}: gaps", {name: f"{run.gaps[-1]:.2g}" for name, run in of.items()})
    claims = list(claims_of(runs))
    for claim in claims:
        console.print(f"{claim.text}: {'holds' if claim.holds else 'does not hold'} {claim.figures}")
    draw(runs, asked.output)
    results = {
        "rows": asked.rows,
        "step": step,
        "claims": [claim._asdict() for claim in claims],
        "runs": {
            f"{nodes} nodes, {speeds}": {name: run._asdict() for name, run in of.items()}
            for (nodes, speeds), of in runs.items()
        },
    }
    save(asked.output.with_suffix(".json"), {**about(__file__, arguments), "results": results})
    console.print(f"written: {asked.output}")


if __name__ == "__main__":
    main(sys.argv[1:])
