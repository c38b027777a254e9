"""`fedavg` with differential privacy: what leaves clients, what it costs, and what is told of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cluster.federated import CLASSES, CLIENTS, SEED, STEP, X, Y, simulation
from cluster.federated import fit as fit_without
from local.fits import local_fit
from scipy import stats
from watched import watched

import dsgd
from dsgd import losses
from dsgd.algorithms import FedAvg
from dsgd.algorithms.distributed import Program
from dsgd.cluster import Crash, FrameLoss
from dsgd.cluster.program.commands import Clock, Pull, Push, Report
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.program.partition import deal
from dsgd.cluster.program.task import WorkerTask
from dsgd.cluster.simulation.failures import SERVER
from dsgd.cluster.simulation.links import Links
from dsgd.errors import ConfigError, DivergedError
from dsgd.privacy.accounting import epsilon_of
from dsgd.privacy.ledger import PrivacyLedger
from dsgd.testing.fedavg_reference import drawn_clients

DENSE = X.toarray()
ROUNDS, SIZE = 12, 5  # 121 rows: 17 or 18 a client
NOISE = 2.0
SEEDED = dsgd.Privacy(clip_norm=0.5, noise_multiplier=NOISE, noise="seed")


def fit(where: Any = None, **options: Any) -> dsgd.FitResult:
    return fit_without(where, **{"privacy": SEEDED, "batch_size": SIZE, "max_epochs": ROUNDS, **options})


def ledger(result: dsgd.FitResult) -> PrivacyLedger:
    assert result.privacy is not None
    return result.privacy


def spent(result: dsgd.FitResult) -> list[list[int]]:
    """Return the rounds that every client has spent, each as often as it counts."""
    rounds: list[list[int]] = [[] for _ in range(CLIENTS)]
    for each in ledger(result).rounds:
        rounds[each.client] += [each.round] * each.times
    return rounds


def test_a_round_is_a_step_on_the_noised_sum() -> None:
    """Plain numpy: Poisson samples, clipped gradients, noise, a step, and the mean by the rows of the clients."""
    result = fit(data=(DENSE, Y), alpha=0.1)
    w, b, rows = np.zeros(DENSE.shape[1]), 0.0, deal(len(Y), CLIENTS, SEED)
    for clock in range(ROUNDS):
        ends = []
        for client, mine in enumerate(rows):
            key = np.array([SEED, (1 << 63) + (client << 32) + clock], np.uint64)
            random = np.random.Generator(np.random.Philox(key=key))
            sample = mine[random.random(len(mine)) < SIZE / len(mine)]
            total = np.zeros(len(w) + 1)
            for i in sample:
                gradient = -Y[i] / (1 + np.exp(Y[i] * (DENSE[i] @ w + b))) * np.append(DENSE[i], 1.0)
                total += gradient * min(1.0, 0.5 / np.linalg.norm(gradient))
            total += 0.5 * NOISE * random.standard_normal(len(total))
            ends.append(np.append((w - STEP * total[:-1] / SIZE) / (1 + STEP * 0.1), b - STEP * total[-1] / SIZE))
        mean = np.average(ends, axis=0, weights=[len(mine) for mine in rows])
        w, b = mean[:-1], mean[-1]
    np.testing.assert_allclose(result.coef_, w, rtol=0, atol=1e-12)
    assert result.intercept_ == pytest.approx(b, abs=1e-12)


@pytest.mark.parametrize("loss", ["logistic", "softmax", losses.MLP((3,))], ids=str)
def test_the_result_does_not_depend_on_the_number_of_workers(loss: Any) -> None:
    data = (DENSE, Y if loss == "logistic" else CLASSES)
    runs = [fit(simulation(workers), data=data, loss=loss, fraction=0.6) for workers in (1, 2, 3, 7)]
    for run in runs[1:]:
        np.testing.assert_allclose(run.model.weights, runs[0].model.weights, rtol=0, atol=1e-12)
        assert ledger(run).rounds == ledger(runs[0]).rounds


def test_the_ledger_has_the_rounds_of_every_client() -> None:
    result = fit(fraction=0.4, failing=0.3, clients=CLIENTS)
    arrived = [clients for _, clients in drawn_clients(SEED, ROUNDS, CLIENTS, n_drawn=3, failing=0.3)]
    assert spent(result) == [[k for k, clients in enumerate(arrived) if client in clients] for client in range(CLIENTS)]
    rates = {each.client: each.rate for each in ledger(result).rounds}
    assert set(rates.values()) == {SIZE / 17, SIZE / 18}
    for client, epsilon in ledger(result).epsilons.items():
        rounds = [(rates[client], NOISE)] * len(spent(result)[client]) if client in rates else []
        assert epsilon == pytest.approx(epsilon_of(rounds, 1e-5), abs=1e-9)
    assert ledger(result).epsilon == max(ledger(result).epsilons.values())


def test_target_epsilon_is_what_the_run_spends() -> None:
    result = fit(privacy=dsgd.Privacy(clip_norm=0.5, target_epsilon=4.0, delta=1e-4), fraction=0.5, clients=11)
    assert 3.95 < ledger(result).epsilon <= 4.0
    assert (ledger(result).target_epsilon, ledger(result).delta) == (4.0, 1e-4)
    assert result.algorithm.privacy == dsgd.Privacy(clip_norm=0.5, target_epsilon=4.0, delta=1e-4)


def test_a_run_that_stops_early_has_spent_less() -> None:
    whole, part = fit(), fit(callbacks=[lambda record, _: record.epoch == 4])
    assert len(part.history) == 4
    assert all(rounds in ([0, 1, 2, 3], [0, 1, 2, 3, 4]) for rounds in spent(part))
    assert 0 < ledger(part).epsilon < ledger(whole).epsilon
    assert len(ledger(part).rounds) == len(ledger(whole).rounds) == ROUNDS * CLIENTS


def test_lost_clients_have_spent_their_rounds_until_then() -> None:
    seconds = fit().history[-1].virtual_seconds or 0.0
    result = fit(simulation(failures=[Crash(1, seconds / 2)], heartbeat_deadline=0.05))
    for client, rounds in enumerate(spent(result)):
        assert rounds == list(range(len(rounds)))
        assert len(rounds) == ROUNDS if client % 2 == 0 else 0 < len(rounds) < ROUNDS


def test_every_sum_that_may_have_left_is_in_the_ledger() -> None:
    """Crashes of a worker and of the server at any moment: secure noise is drawn anew, and each sum counts."""
    seconds = fit(max_epochs=4).history[-1].virtual_seconds or 0.0
    privacy = dsgd.Privacy(clip_norm=0.5, noise_multiplier=NOISE)
    twice = 0
    for moment in (np.linspace(0.02, 0.98, 25) * seconds).tolist():
        for node in (1, SERVER):
            sums: list[tuple[int, int]] = []

            class Counted(FedAvg):
                def client_update(
                    self, task: WorkerTask, weights: Any, client: int, clock: int, sums: Any = sums
                ) -> Any:
                    sums.append((client, clock))
                    return super().client_update(task, weights, client, clock)

            given: dict[str, Any] = {
                "failures": [Crash(node, moment, 0.001)],
                "reconnect_after": 0.005,
                "checkpoint_every": 1,
            }
            algorithm = Counted(clients=CLIENTS, batch_size=SIZE, privacy=privacy)
            result = dsgd.fit(
                X, Y, algo=algorithm, loss="logistic", step_size=STEP, schedule="constant", max_epochs=4,
                random_state=SEED, n_threads=1, cluster=simulation(**given),
            )  # fmt: skip
            entered = {(each.client, each.round): each.times for each in ledger(result).rounds}
            for each in set(sums):
                assert entered[each] >= sums.count(each), (moment, node)
            twice += max(entered.values()) > 1
    assert twice > 0


def noting(pairs: list[tuple[Any, Any]]) -> type[FedAvg]:
    """Return a FedAvg that notes all commands of its workers, and their answers."""

    class Noting(FedAvg):
        def worker(self, task: WorkerTask) -> Program:
            return watched(super().worker(task), after=lambda command, answer: pairs.append((command, answer)))

    return Noting


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Keep the clipped sums as they are before the noise."""
    sums: list[Any] = []
    real = Kernels.clipped_gradient

    def clipped(self: Kernels, weights: Any, rows: Any, clip_norm: float) -> Any:
        total, n_clipped = real(self, weights, rows, clip_norm)
        sums.append(total.copy())
        return total, n_clipped

    monkeypatch.setattr(Kernels, "clipped_gradient", clipped)
    return sums


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Keep all frames that cross a link of the simulation."""
    seen: list[bytes] = []
    real = Links.send

    def send(self: Links, source: int, target: int, size: int, deliver: Any, *arguments: Any) -> float:
        seen.extend(each for each in arguments if isinstance(each, bytes))
        return real(self, source, target, size, deliver, *arguments)

    monkeypatch.setattr(Links, "send", send)
    return seen


def test_nothing_but_noised_sums_and_clocks_crosses_the_wire(exact: list[Any], frames: list[bytes]) -> None:
    """One client a worker, no penalty: a push tells the noised sum, and no frame has a value of the exact one."""
    pairs: list[tuple[Any, Any]] = []
    algorithm = noting(pairs)(batch_size=SIZE, privacy=dsgd.Privacy(clip_norm=0.5, noise_multiplier=NOISE))
    dsgd.fit(
        DENSE, Y, algo=algorithm, loss="logistic", penalty="none", step_size=STEP, schedule="constant", max_epochs=30,
        random_state=SEED, n_threads=1, cluster=simulation(2),
    )  # fmt: skip
    assert {type(command) for command, _ in pairs} == {Report, Pull, Push, Clock}
    assert all(
        set(each.metrics) == {"private_client", "private_round", "private_rate"}
        for each, _ in pairs
        if isinstance(each, Report)
    )
    pulled, told = None, []
    for command, answer in pairs:
        if isinstance(command, Pull):
            pulled = answer
        if isinstance(command, Push):
            told.append(command.delta)
    assert pulled is not None
    assert len(told) == len(exact) == 60
    wire = b"".join(frames)
    for delta in told:  # the test would see an exact value
        assert np.float64(delta[0]).tobytes() in wire
    for total in exact:
        assert not any(np.float64(value).tobytes() in wire for value in total if value != 0)
        assert not any(np.float64(value / SIZE).tobytes() in wire for value in total if value != 0)


def test_what_a_push_tells_has_the_noise_that_was_asked_for(exact: list[Any]) -> None:
    pairs: list[tuple[Any, Any]] = []
    algorithm = noting(pairs)(batch_size=SIZE, privacy=dsgd.Privacy(clip_norm=0.5, noise_multiplier=NOISE))
    dsgd.fit(
        DENSE, Y, algo=algorithm, loss="logistic", penalty="none", step_size=STEP, schedule="constant", max_epochs=60,
        random_state=SEED, n_threads=1, cluster=simulation(1),
    )  # fmt: skip
    weights = [answer for command, answer in pairs if isinstance(command, Pull)]
    ends = [command.delta for command, _ in pairs if isinstance(command, Push)]
    noise = np.array([(a - b) * SIZE / STEP - c for a, b, c in zip(weights, ends, exact, strict=True)]) / (0.5 * NOISE)
    low, high = stats.chi2.ppf([0.5e-9, 1 - 0.5e-9], noise.size)
    assert low < np.sum(noise**2) < high


def test_every_option_changes_the_result() -> None:
    privacy: list[dict[str, Any]] = [
        {},
        {"clip_norm": 0.3},
        {"noise_multiplier": 3.0},
        {"noise_multiplier": None, "target_epsilon": 1.0},
        {"noise_multiplier": None, "target_epsilon": 1.0, "delta": 1e-3},
        {"noise_multiplier": None, "target_epsilon": 1.0, "delta": 1e-3, "accountant": "pld"},
        {"noise": "secure"},
    ]
    given = [{"clip_norm": 0.5, "noise_multiplier": NOISE, "noise": "seed", **each} for each in privacy]
    sizes = ["all" if "target_epsilon" in each else SIZE for each in given]  # without a sample accounting is fast
    runs = [fit(privacy=each, batch_size=size, max_epochs=3) for each, size in zip(given, sizes, strict=True)]
    results = {run.model.weights.tobytes() for run in runs}
    results |= {
        fit(max_epochs=5, **each).model.weights.tobytes() for each in ({"batch_size": "all"}, {"random_state": 9})
    }
    results.add(fit(max_epochs=3, privacy=None).model.weights.tobytes())
    assert len(results) == len(given) + 3


def test_the_history_has_no_objective_of_private_rows_unless_asked() -> None:
    private = fit(eval_set=(X, Y))
    assert {record.objective for record in private.history} == {None}
    assert None not in {record.score for record in private.history}
    assert private.history[-1].effective_passes == pytest.approx(ROUNDS * CLIENTS * SIZE / len(Y))
    public = fit(privacy={"clip_norm": 0.5, "noise_multiplier": NOISE, "noise": "seed", "history": "public"})
    assert np.array_equal(public.model.weights, private.model.weights)
    assert None not in {record.objective for record in public.history}


@pytest.mark.parametrize("loss", ["squared", losses.SquaredMLP((3,)), losses.MLP((3,))], ids=str)
def test_steps_and_starts_know_nothing_of_the_rows(loss: Any) -> None:
    """A sample that weighs nothing, with noise of the seed: features and targets of any size and mean change no bit."""
    given = {"clip_norm": 1e-30, "noise_multiplier": 1e30, "noise": "seed"}
    targets = CLASSES if loss == losses.MLP((3,)) else Y
    runs = []
    for size in (1, 7):
        y = targets if targets is CLASSES else targets + size
        runs.append(fit(data=(DENSE * size + size, y), loss=loss, privacy=given).model.weights)
    np.testing.assert_allclose(runs[0], runs[1], rtol=0, atol=1e-25)


def test_a_saved_result_has_its_privacy(tmp_path: Any) -> None:
    result = fit()
    result.save(tmp_path / "model")
    loaded = dsgd.load(tmp_path / "model")
    assert loaded.algorithm == result.algorithm
    assert loaded.privacy is None


def test_links_change_no_bit() -> None:
    lossy = fit(simulation(failures=[FrameLoss(0.2)], resend_after=0.01))
    assert np.array_equal(lossy.model.weights, fit().model.weights)
    assert ledger(lossy).rounds == ledger(fit()).rounds


def test_processes_give_the_bits_and_the_ledger_of_the_simulation_and_stop_with_all_entries() -> None:
    algorithm = FedAvg(clients=4, batch_size=SIZE, privacy=SEEDED)
    given: dict[str, Any] = {"algo": algorithm, "loss": "logistic", "step_size": STEP, "random_state": SEED}
    local = dsgd.fit(X, Y, workers=2, max_epochs=8, n_threads=2, **given)
    simulated = dsgd.fit(X, Y, cluster=simulation(2), max_epochs=8, n_threads=1, **given)
    assert np.array_equal(local.model.weights, simulated.model.weights)
    assert ledger(local).rounds == ledger(simulated).rounds
    part = dsgd.fit(X, Y, workers=2, max_epochs=10_000, callbacks=[lambda record, _: record.epoch == 3], **given)
    counts = [sum(each.spent for each in ledger(part).rounds if each.client == client) for client in range(4)]
    assert min(counts) >= 3
    assert max(counts) - min(counts) <= 2
    assert max(counts) < 10_000


def test_an_error_tells_what_may_have_been_spent() -> None:
    with pytest.raises(DivergedError) as caught:
        fit(step_size=1e308, privacy=dsgd.Privacy(clip_norm=1e10, noise_multiplier=1.0))
    assert "count the whole run, epsilon" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"local_epochs": 2}, "local_epochs=2 with privacy: a client makes one step"),
        ({"privacy": 3}, "privacy must be a dsgd.Privacy or None, not 3"),
        ({"step_size": "auto"}, "privacy needs a step_size"),
        ({"tol": 1e-3}, "tol looks at the objective of the training rows"),
        ({"class_weight": "balanced"}, "class_weight='balanced' counts the rows of the classes"),
        ({"loss": "kmeans", "data": (DENSE, None)}, "k-means starts from rows"),
    ],
)
def test_options_that_would_tell_of_rows_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(**options)


def test_a_checkpoint_is_not_resumed(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="the checkpoint does not know what was spent"):
        local_fit({"resume": tmp_path / "saved"}, algo=FedAvg(privacy=SEEDED))
