"""`async-fl` with differential privacy: a round is one step on a noised sum, and the ledger has every round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd.cluster import Crash
from dsgd.errors import ConfigError
from dsgd.privacy.accounting import epsilon_of

X, Y = make_problem(121, 6, seed=3)
DENSE = X.toarray()
SEED, STEP, NOISE, CLIP = 5, 0.02, 2.0, 0.5
SEEDED = dsgd.Privacy(clip_norm=CLIP, noise_multiplier=NOISE, noise="seed")


def fit(workers: int = 1, cluster: dict[str, Any] | None = None, **options: Any) -> dsgd.FitResult:
    where = dsgd.Simulation(workers=workers, **(cluster or {}))
    given: dict[str, Any] = {"loss": "logistic", "alpha": 0.1, "max_epochs": 6, "random_state": SEED}
    given |= {"step_size": STEP, "privacy": SEEDED, "sizes": "linear", "first_size": 10, "growth": 5.0}
    given |= {"falling": "sqrt", "fall": 0.1, "n_threads": 1}
    return dsgd.fit(DENSE, Y, algo="async-fl", cluster=where, **{**given, **options})


@pytest.mark.filterwarnings("ignore:algo 'async-fl'")
def test_a_round_is_one_step_on_the_noised_sum() -> None:
    """Plain numpy: rounds of 10, 15, 20, ... gradients, Poisson samples, clipped gradients, noise, falling steps."""
    result = fit()
    w, b, start, mine = np.zeros(DENSE.shape[1]), 0.0, 0, np.arange(len(Y))
    for clock in range(int((result.history[-1].counts or {})["rounds"][0] or 0)):
        size = 10 + 5 * clock
        random = np.random.Generator(np.random.Philox(key=np.array([SEED, (1 << 63) + clock], np.uint64)))
        sample = mine[random.random(len(mine)) < min(size / len(mine), 1)]
        total = np.zeros(len(w) + 1)
        for i in sample:
            gradient = -Y[i] / (1 + np.exp(Y[i] * (DENSE[i] @ w + b))) * np.append(DENSE[i], 1.0)
            total += gradient * min(1.0, CLIP / np.linalg.norm(gradient))
        total += CLIP * NOISE * random.standard_normal(len(total))
        step = STEP / (1 + 0.1 * np.sqrt(start))
        w, b, start = (w - step * total[:-1]) / (1 + step * size * 0.1), b - step * total[-1], start + size
    np.testing.assert_allclose(result.coef_, w, rtol=0, atol=1e-12)
    assert result.intercept_ == pytest.approx(b, abs=1e-12)


@pytest.mark.filterwarnings("ignore:algo 'async-fl'")
def test_the_ledger_has_the_rounds_that_took_place() -> None:
    result = fit(3, participation=0.6, max_epochs=20)
    ledger, counts = result.privacy, result.history[-1].counts
    assert ledger is not None
    assert counts is not None
    for client, epsilon in ledger.epsilons.items():
        rounds = [each for each in ledger.rounds if each.client == client]
        assert all(each.times == 1 for each in rounds)
        took_part, clocks = counts["rounds"][client], (result.history[-1].clocks or ())[client]
        assert took_part == len(rounds) < clocks
        assert len({each.rate for each in rounds}) > 2
        assert epsilon == pytest.approx(epsilon_of([(each.rate, NOISE) for each in rounds], 1e-5), abs=1e-9)


@pytest.mark.filterwarnings("ignore:algo 'async-fl'")
def test_target_epsilon_is_spent_by_the_whole_run_and_less_by_one_that_loses_a_client() -> None:
    privacy = dsgd.Privacy(clip_norm=CLIP, target_epsilon=4.0)
    equal: dict[str, Any] = {"privacy": privacy, "sizes": "constant", "first_size": 30}  # few rates are soon solved for
    whole = fit(3, **equal)
    assert whole.privacy is not None
    assert 3.95 < whole.privacy.epsilon <= 4.0
    seconds = whole.history[-1].virtual_seconds or 0.0
    crash: dict[str, Any] = {"failures": [Crash(1, seconds / 2)], "heartbeat_deadline": 0.05}
    part = fit(3, crash, **equal)
    assert part.privacy is not None
    assert part.privacy.epsilons[1] < part.privacy.epsilons[0] <= 4.0


@pytest.mark.filterwarnings("ignore:algo 'async-fl'")
def test_every_option_of_privacy_changes_the_result() -> None:
    options: list[dict[str, Any]] = [{}, {"clip_norm": 0.1}, {"noise_multiplier": 1.0}, {"noise": "secure"}]
    given = {"clip_norm": CLIP, "noise_multiplier": NOISE, "noise": "seed"}
    results = [fit(2, privacy=dsgd.Privacy(**{**given, **each})).model.weights.tobytes() for each in options]
    results.append(fit(2, privacy=None).model.weights.tobytes())
    assert len(set(results)) == len(results)


def test_the_history_has_no_objective_of_private_rows_and_k_means_is_refused() -> None:
    result = fit(2, sizes="theory", first_size=1)
    assert all(record.objective is None for record in result.history)
    with pytest.raises(ConfigError, match="k-means"):
        dsgd.fit(DENSE, None, algo="async-fl", loss=dsgd.losses.KMeans(2), privacy=SEEDED, workers=2)
    with pytest.raises(ConfigError, match="step_size"):
        fit(2, step_size="auto")
