"""The configuration of differential privacy, and its mechanism."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd._common.checks import check_choice, check_real, shown, unknown_name
from dsgd.cluster.program.kernels import Kernels
from dsgd.errors import ConfigError
from dsgd.privacy.accounting import ACCOUNTANTS, noise_for
from dsgd.privacy.randomness import Randomness, SecureRandom

__all__ = ["Plan", "Privacy"]

Plan = Mapping[int, Mapping[int, float]]
"""The rate of the sample of every round of every client: ``plan[client][round]``."""


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """Differential privacy of the rows of every client: what leaves it is a noised sum of clipped gradients.

    In a round of a client every one of its rows is in the sample with a chance q, on its own. The gradients of the
    sample, at the weights that the round began with, are shortened to the norm C = `clip_norm` and summed, and normal
    noise of deviation C times the noise multiplier is added to every element of the sum. docs/privacy.md says what that
    promises, and what it does not.

    Parameters
    ----------
    clip_norm : float
        C, the most that a row's gradient counts for.
    noise_multiplier : float, optional
        Deviation of the noise in units of `clip_norm`. Give either this or `target_epsilon`.
    target_epsilon : float, optional
        The epsilon that the planned rounds may cost a client: the noise multiplier is solved for.
    delta : float, default=1e-5
        The chance that the promise of epsilon does not hold, about; it should be well below 1 / rows.
    noise : {"secure", "seed"}, default="secure"
        Where noise and samples come from. ``"secure"``: the cryptographic generator of the operating system
        (`dsgd.privacy.randomness.SecureRandom`); two runs then differ. ``"seed"``: `random_state`, for tests and
        studies. Who knows the seed can subtract the noise: such a run promises nothing.
    accountant : {"rdp", "pld"}, default="rdp"
        Of dp-accounting. ``"pld"`` finds smaller epsilons, and is slow for rounds of many different rates.
    history : {"private", "public"}, default="private"
        Whether the history has the objective of the training rows, which is exact and therefore not private.
        ``"private"``: it is not evaluated, and only the score on `eval_set` is.

    Raises
    ------
    ConfigError
        For impossible values, and unless exactly one of `noise_multiplier` and `target_epsilon` is given.
    """

    clip_norm: float
    noise_multiplier: float | None = None
    target_epsilon: float | None = None
    delta: float = 1e-5
    noise: str = "secure"
    accountant: str = "rdp"
    history: str = "private"

    def __post_init__(self) -> None:
        object.__setattr__(self, "clip_norm", check_real("clip_norm", self.clip_norm, 0, low_open=True))
        if (self.noise_multiplier is None) == (self.target_epsilon is None):
            raise ConfigError(
                "give either noise_multiplier or target_epsilon, from which it is solved; they are "
                f"{shown(self.noise_multiplier)} and {shown(self.target_epsilon)}"
            )
        for name in ("noise_multiplier", "target_epsilon"):
            if getattr(self, name) is not None:
                value = check_real(name, getattr(self, name), 0, low_open=name == "target_epsilon")
                object.__setattr__(self, name, value)
        delta = check_real("delta", self.delta, 0, 1, low_open=True)
        if delta == 1:
            raise ConfigError("delta must be below 1; 1 promises nothing")
        object.__setattr__(self, "delta", delta)
        check_choice("noise", self.noise, ("secure", "seed"))
        check_choice("accountant", self.accountant, ACCOUNTANTS)
        check_choice("history", self.history, ("private", "public"))

    @classmethod
    def of(cls, value: Any) -> Privacy | None:
        """Return a value of the option ``privacy`` of an algorithm: a mapping is its parameters, as files have them."""
        if value is None or isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(f"privacy must be a dsgd.Privacy or None, not {shown(value)}")
        names = {field.name for field in dataclasses.fields(cls)}
        for name in value:
            if name not in names:
                raise unknown_name("parameter of privacy", name, names)
        if "clip_norm" not in value:
            raise ConfigError("privacy needs a clip_norm, such as 1.0")
        return cls(**value)

    def solved(self, plan: Plan) -> Privacy:
        """Return the privacy with the noise multiplier that `target_epsilon` asks of planned rounds."""
        if self.target_epsilon is None:
            return self
        plans = [rates.values() for rates in plan.values()]
        noise = noise_for(plans, self.target_epsilon, self.delta, self.accountant)
        return dataclasses.replace(self, noise_multiplier=noise, target_epsilon=None)

    def noised_sum(
        self, kernels: Kernels, weights: NDArray[Any], rate: float, seeded: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return what leaves a client in a round: the noised sum of the clipped gradients of a Poisson sample.

        Parameters
        ----------
        kernels : Kernels
            Arithmetic on the rows of the client.
        weights : ndarray of shape (n_parameters,)
            They stay as they are in the round: else a row would change the gradients of those after it.
        rate : float
            The chance of a row to be in the sample.
        seeded : numpy.random.Generator
            Used with ``noise="seed"`` only; no other round or client may draw from it.

        Notes
        -----
        Neither the size of the sample nor how many gradients were shortened is told; the work that the history counts
        is that of a sample of the expected size.
        """
        if self.noise_multiplier is None:
            raise ConfigError("target_epsilon must be solved for the planned rounds first; see Privacy.solved")
        source: Randomness = seeded if self.noise == "seed" else SecureRandom()
        rows = np.flatnonzero(source.random(kernels.n_samples) < rate).astype(np.int64)
        total, _ = kernels.clipped_gradient(weights, rows, self.clip_norm)
        kernels.count(samples=round(rate * kernels.n_samples) - len(rows))
        deviation = self.clip_norm * self.noise_multiplier
        return np.asarray(total + deviation * source.standard_normal(len(total)), np.float64)
