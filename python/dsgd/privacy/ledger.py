"""The ledger of a run: the rounds of every client, and what they cost."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from dsgd.errors import ConfigError
from dsgd.privacy.accounting import epsilon_of
from dsgd.privacy.config import Plan, Privacy

__all__ = ["LedgerRound", "PrivacyLedger", "entry"]

# Numbers of a report that enters a round of a client.
_FIELDS = {"private_client", "private_round", "private_rate"}


def entry(client: int, number: int, rate: float) -> dict[str, float]:
    """Return the report that enters a round of a client, whose rows are in the sample with chance `rate`.

    The program of a worker gives it before the `Pull` of the weights that the round begins with, or before any other
    command that a server answers: once that is answered the entry has arrived, so that no noised sum can leave without
    one.
    """
    return {"private_client": client, "private_round": number, "private_rate": rate}


class LedgerRound(NamedTuple):
    """A round of a client that was planned, or entered without a plan.

    Attributes
    ----------
    client, round : int
    rate : float
        The chance of a row to be in the sample.
    noise_multiplier : float
    times : int
        How many noised sums of this round may have left the client. A worker that is started again sums again, with
        other noise. 0: nothing was spent.
    """

    client: int
    round: int
    rate: float
    noise_multiplier: float
    times: int

    @property
    def spent(self) -> bool:
        """Whether the noised sum may have left the client."""
        return self.times > 0


@dataclass(frozen=True, kw_only=True, eq=False)
class PrivacyLedger:
    """What a run has spent of the privacy of every client.

    Attributes
    ----------
    rounds : tuple of LedgerRound
        All planned rounds, and those that were entered, by client.
    delta : float
    accountant : str
    target_epsilon : float or None
        What the noise was solved for, if it was.
    """

    rounds: tuple[LedgerRound, ...]
    delta: float
    accountant: str
    target_epsilon: float | None = None

    @classmethod
    def of_run(
        cls, privacy: Privacy, plan: Plan, reports: Iterable[tuple[int, float, bytes]], finished: Iterable[int] = ()
    ) -> PrivacyLedger:
        """Return the ledger of the reports of a run (`Outcome.reports`).

        Parameters
        ----------
        privacy : Privacy
            With its noise multiplier.
        plan : Plan
        reports : iterable of tuple (rank, seconds, bytes)
        finished : iterable of int
            Clocks from which on entries may be lost, because a server was lost: one for each such loss. All planned
            rounds from there on count once more.
        """
        if privacy.noise_multiplier is None:
            raise ConfigError("target_epsilon must be solved for the planned rounds first; see Privacy.solved")
        times: Counter[tuple[int, int, float]] = Counter()
        for client, rates in plan.items():
            times.update({(client, number, rate): 0 for number, rate in rates.items()})
        for _, _, metrics in reports:
            numbers = json.loads(metrics)
            if set(numbers) >= _FIELDS:
                client, number = int(numbers["private_client"]), int(numbers["private_round"])
                times[client, number, float(numbers["private_rate"])] += 1
        for clock in finished:
            for client, rates in plan.items():
                times.update((client, number, rate) for number, rate in rates.items() if number >= clock)
        return cls(
            rounds=tuple(
                LedgerRound(client, number, rate, privacy.noise_multiplier, counted)
                for (client, number, rate), counted in sorted(times.items())
            ),
            delta=privacy.delta,
            accountant=privacy.accountant,
        )

    @functools.cached_property
    def epsilons(self) -> dict[int, float]:
        """The epsilon of every client: what was spent of the privacy of one of its rows."""
        spent: dict[int, Counter[tuple[float, float]]] = {}
        for each in self.rounds:
            counts = spent.setdefault(each.client, Counter())
            counts[each.rate, each.noise_multiplier] += each.times
        costs: dict[frozenset[Any], float] = {}  # most clients have the rounds of another one
        return {client: self._cost(counts, costs) for client, counts in spent.items()}

    @property
    def epsilon(self) -> float:
        """The largest epsilon of a client; 0 without clients. A row is with one client: theirs do not add up."""
        return max(self.epsilons.values(), default=0.0)

    def to_records(self) -> list[dict[str, Any]]:
        """Return a dictionary for each planned round of each client."""
        return [{**each._asdict(), "spent": each.spent} for each in self.rounds]

    def _cost(self, counts: Counter[tuple[float, float]], known: dict[frozenset[Any], float]) -> float:
        key = frozenset((+counts).items())
        if key not in known:
            known[key] = epsilon_of(counts.elements(), self.delta, self.accountant)
        return known[key]
