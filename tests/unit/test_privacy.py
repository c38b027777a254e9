"""Differential privacy: the accounting, the mechanism, and its randomness."""

from __future__ import annotations

import builtins
import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.pld import pld_privacy_accountant
from dp_accounting.rdp import rdp_privacy_accountant
from scipy import stats

import dsgd
from dsgd import losses
from dsgd.cluster.program.kernels import Kernels
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.errors import ConfigError
from dsgd.losses import resolve_loss
from dsgd.privacy.accounting import epsilon_of, noise_for
from dsgd.privacy.config import Privacy
from dsgd.privacy.ledger import PrivacyLedger, entry
from dsgd.privacy.randomness import SecureRandom
from dsgd.problems.problem import Problem

# Of a right program one in so many runs of a statistical test fails.
FALSE_ALARM = 1e-9
CLIP = 0.7

SCHEDULES: list[list[tuple[float, float]]] = [
    [(1.0, 5.0)],
    [(0.01, 1.1)] * 20,
    [(0.05, 2.0)] * 6 + [(0.1, 2.0)] * 2 + [(1.0, 8.0)],
    [(0.02 + 0.01 * k, 1.0 + 0.5 * (k % 3)) for k in range(6)],
]


def kernels_on(X: Any, y: Any, loss: Any) -> Kernels:
    matrix, resolved = as_matrix(X, 1), resolve_loss(loss)
    problem = Problem(
        matrix=matrix,
        target=y,
        sample_weight=None,
        loss=resolved,
        alphas=(0.0, 0.0),
        fit_intercept=True,
        scale=dataclasses.replace(measure(matrix, None, 1), intercept_rate=1.0),
        n_classes=3 if resolved.joint else 2,
        blind=True,
    )
    return Kernels(problem, resolved.of_whole(problem, problem.objective(1)), 1)


@pytest.mark.parametrize(
    ("schedule", "accountant"),
    [*((schedule, "rdp") for schedule in SCHEDULES), (SCHEDULES[0], "pld"), (SCHEDULES[2][-3:], "pld")],
    ids=["one", "many", "mixed", "varying", "one-pld", "mixed-pld"],  # pld is slow
)
def test_epsilon_is_that_of_dp_accounting(schedule: list[tuple[float, float]], accountant: str) -> None:
    kind: Any = rdp_privacy_accountant.RdpAccountant if accountant == "rdp" else pld_privacy_accountant.PLDAccountant
    theirs = kind()
    for rate, noise in schedule:
        theirs.compose(dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise)))
    for delta in (1e-5, 1e-3):
        assert epsilon_of(schedule, delta, accountant) == pytest.approx(theirs.get_epsilon(delta), abs=1e-6, rel=0)


def test_rounds_without_rows_are_free_and_those_without_noise_cost_everything() -> None:
    assert epsilon_of([], 1e-5) == epsilon_of([(0.0, 1.0)] * 5, 1e-5) == 0
    assert epsilon_of([(0.1, 1.0), (0.1, 0.0)], 1e-5) == math.inf


@pytest.mark.parametrize(("target", "accountant"), [(0.5, "rdp"), (20.0, "rdp")])
def test_the_target_is_reached_from_below(target: float, accountant: str) -> None:
    plans = [[0.05] * 40, [0.1] * 25, [], [0.1] * 3 + [0.02] * 30]
    noise = noise_for(plans, target, 1e-5, accountant)
    worst = [
        max(epsilon_of([(q, s) for q in plan], 1e-5, accountant) for plan in plans) for s in (noise, noise / 1.002)
    ]
    assert worst[0] <= target < worst[1]


def test_a_target_that_no_noise_reaches_is_refused() -> None:
    with pytest.raises(ConfigError, match="target_epsilon=1e-09 at delta=1e-12 is out of reach"):
        noise_for([[1.0] * 10], 1e-9, 1e-12)


@pytest.mark.parametrize("loss", ["logistic", "squared", "softmax", losses.MLP((4,))], ids=str)
def test_a_row_moves_the_sum_by_at_most_the_clip_norm(loss: Any) -> None:
    """1,000 pairs of data sets of which one lacks a row of the other, with weights and features of all sizes."""
    random = np.random.default_rng(0)
    largest = 0.0
    for number in range(1000):
        n = int(random.integers(2, 12))
        X = random.normal(size=(n, 5)) * 10.0 ** random.integers(-3, 4)
        y = random.integers(0, 3, n).astype(float) if not isinstance(loss, str) or loss == "softmax" else None
        y = np.where(random.random(n) < 0.5, 1.0, -1.0) if y is None else y
        kernels = [kernels_on(X, y, loss), kernels_on(np.ascontiguousarray(X[:-1]), y[:-1], loss)]
        weights = random.normal(size=kernels[0].n_parameters) * 10.0 ** random.integers(-2, 2)
        sums = [each.clipped_gradient(weights, np.arange(each.n_samples), CLIP)[0] for each in kernels]
        largest = max(largest, float(np.linalg.norm(sums[0] - sums[1])))
        assert largest <= CLIP * (1 + 1e-12), number
    assert largest > 0.99 * CLIP


@pytest.mark.parametrize("noise", ["secure", "seed"])
def test_the_noise_has_its_variance(noise: str) -> None:
    """n s^2 / sigma^2 is chi-square with n degrees of freedom; the chance of a false alarm is FALSE_ALARM."""
    kernels = kernels_on(np.ones((3, 40_000)), np.array([1.0, -1.0, 1.0]), "logistic")
    weights = np.zeros(kernels.n_parameters)
    privacy = Privacy(clip_norm=CLIP, noise_multiplier=1.7, noise=noise)
    noised = privacy.noised_sum(kernels, weights, 1.0, np.random.default_rng(3))
    exact, _ = kernels.clipped_gradient(weights, np.arange(3), CLIP)
    away = (noised - exact) / (CLIP * 1.7)
    low, high = stats.chi2.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], len(away))
    assert low < np.sum(away**2) < high
    assert abs(away.mean()) * math.sqrt(len(away)) < stats.norm.isf(FALSE_ALARM / 2)
    assert stats.kstest(away, "norm").pvalue > FALSE_ALARM


@pytest.mark.parametrize("noise", ["secure", "seed"])
def test_every_row_is_drawn_with_the_rate_on_its_own(noise: str) -> None:
    n, rate, rounds = 50, 0.3, 400
    kernels = kernels_on(np.eye(n), np.ones(n), "logistic")
    privacy, random = Privacy(clip_norm=1.0, noise_multiplier=0.0, noise=noise), np.random.default_rng(0)
    weights = np.zeros(kernels.n_parameters)
    taken = np.array([privacy.noised_sum(kernels, weights, rate, random)[:n] != 0 for _ in range(rounds)])
    counts = np.append(taken.sum(axis=0), taken.sum())
    p = [
        stats.binomtest(int(count), size, rate).pvalue
        for count, size in zip(counts, [rounds] * n + [rounds * n], strict=True)
    ]
    assert min(p) > FALSE_ALARM / (n + 1)
    sizes = taken.sum(axis=1)
    low, high = stats.chi2.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], rounds - 1)
    assert low < (rounds - 1) * sizes.var(ddof=1) / (n * rate * (1 - rate)) < high


def test_the_work_that_is_told_is_that_of_the_expected_sample() -> None:
    kernels = kernels_on(np.eye(50), np.ones(50), "logistic")
    for _ in range(20):
        Privacy(clip_norm=1.0, noise_multiplier=1.0).noised_sum(kernels, np.zeros(51), 0.5, np.random.default_rng(0))
    assert kernels.work.samples == 20 * 25


def test_secure_numbers_are_new_each_time_and_seeded_ones_are_not() -> None:
    kernels = kernels_on(np.eye(20), np.ones(20), "logistic")
    for noise, same in (("secure", False), ("seed", True)):
        privacy = Privacy(clip_norm=1.0, noise_multiplier=1.0, noise=noise)
        one, two = (privacy.noised_sum(kernels, np.zeros(21), 1.0, np.random.default_rng(5)) for _ in range(2))
        assert np.array_equal(one, two) == same


def test_secure_numbers_are_made_of_fresh_bytes_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return b"\xff" * size if len(asked) == 1 else b"\x00" * size

    monkeypatch.setattr("os.urandom", urandom)
    assert SecureRandom().random(3).tolist() == [1 - 2.0**-53] * 3
    assert SecureRandom().random(2).tolist() == [0.0, 0.0]
    assert SecureRandom().standard_normal(5).tolist() == [0.0] * 5  # of 1 - 0, whose logarithm is 0
    assert asked == [24, 16, 48]


def test_a_ledger_counts_what_was_entered() -> None:
    privacy = Privacy(clip_norm=1.0, noise_multiplier=2.0)
    plan = {0: {0: 0.1, 2: 0.1}, 1: {1: 0.2}, 2: {}}
    reports = [(0, 0.0, json.dumps(entry(*each)).encode()) for each in ((0, 0, 0.1), (1, 1, 0.2), (1, 1, 0.2))]
    ledger = PrivacyLedger.of_run(privacy, plan, [*reports, (0, 1.0, b'{"samples": 3}')])
    assert [(each.client, each.round, each.times, each.spent) for each in ledger.rounds] == [
        (0, 0, 1, True),
        (0, 2, 0, False),
        (1, 1, 2, True),
    ]
    assert ledger.epsilons == {0: epsilon_of([(0.1, 2.0)], 1e-5), 1: epsilon_of([(0.2, 2.0)] * 2, 1e-5)}
    assert ledger.epsilon == ledger.epsilons[1]
    assert ledger.to_records()[1] == {
        "client": 0,
        "round": 2,
        "rate": 0.1,
        "noise_multiplier": 2.0,
        "times": 0,
        "spent": False,
    }
    unplanned = PrivacyLedger.of_run(privacy, {}, reports)
    assert [each[:3] for each in unplanned.rounds] == [(0, 0, 0.1), (1, 1, 0.2)]
    assert unplanned.epsilons == {0: ledger.epsilons[0], 1: ledger.epsilons[1]}
    again = PrivacyLedger.of_run(privacy, plan, reports, [1])
    assert [each.times for each in again.rounds] == [1, 1, 3]


def test_without_dp_accounting_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("dp_accounting"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'dsgd\[privacy\]'"):
        epsilon_of([(0.1, 1.0)], 1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_norm": 0.0, "noise_multiplier": 1.0}, "clip_norm must be a finite number above 0"),
        ({"clip_norm": 1.0}, "give either noise_multiplier or target_epsilon.*None and None"),
        ({"clip_norm": 1.0, "noise_multiplier": 1.0, "target_epsilon": 1.0}, "give either"),
        ({"clip_norm": 1.0, "noise_multiplier": -1.0}, "noise_multiplier must be"),
        ({"clip_norm": 1.0, "target_epsilon": 0.0}, "target_epsilon must be"),
        ({"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 0.0}, "delta must be"),
        ({"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1.0}, "delta must be below 1"),
        ({"clip_norm": 1.0, "noise_multiplier": 1.0, "noise": "pcg"}, "unknown noise 'pcg'"),
        ({"clip_norm": 1.0, "noise_multiplier": 1.0, "accountant": "x"}, "unknown accountant"),
        ({"clip_norm": 1.0, "noise_multiplier": 1.0, "history": "x"}, "unknown history"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dsgd.Privacy(**options)


def test_a_mapping_of_its_parameters_is_taken_for_a_privacy() -> None:
    assert Privacy.of({"clip_norm": 1.0, "noise_multiplier": 2.0}) == Privacy(clip_norm=1.0, noise_multiplier=2.0)
    for value, message in [
        ({"noise_multiplier": 1.0}, "needs a clip_norm"),
        ({"clip": 1.0}, "clip_norm"),
        (3, "Privacy"),
    ]:
        with pytest.raises(ConfigError, match=message):
            Privacy.of(value)


def test_an_unsolved_privacy_makes_no_noise() -> None:
    kernels = kernels_on(np.eye(3), np.ones(3), "logistic")
    with pytest.raises(ConfigError, match="must be solved"):
        Privacy(clip_norm=1.0, target_epsilon=1.0).noised_sum(kernels, np.zeros(4), 1.0, np.random.default_rng(0))
