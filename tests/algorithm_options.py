"""Values of the options of every registered algorithm, for fits that are drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["ALGORITHM_OPTIONS"]

# Values of every option; an option that is not drawn keeps its default.
ALGORITHM_OPTIONS: dict[str, dict[str, Sequence[Any]]] = {
    "auto": {},
    "sgd": {"block_size": (1, 7, 2**62), "average": (True, 1, 5, 10**6)},
    "hogwild": {
        "write": ("racy", "atomic", "locked"),
        "order": ("free", "round-robin"),
        "merge_every": (0, 1, 5),
        "layout": ("inplace", "renumbered"),
        "block_size": (1, 7),
        "record_delay": (True,),
    },
    "minibatch": {"batch_size": (1, 2, 7, 10**9), "block_size": (1, 7), "average": (True, 5)},
    "batch": {},
    "svrg": {
        "inner_steps": (1, 5, 50, "window"),
        "anchor": ("last", "average"),
        "mean_gradient": ("reweighted", "scalar"),
        "accelerated": ("anchor", "sample"),
        "max_sigma": (0.1, 1e6),
        "safe": (False,),
        "sgd_first": (False,),
        "block_size": (1, 7),
    },
    "sdca": {
        "max_rest": (0, 1, 128),
        "merge_every": (1, 7),
        "damping": (1.0, 2.0, 1e6),
        "sgd_first": (True, False),
        "block_size": (1, 7),
    },
    "ssp": {"staleness": (0, 1, 3), "batch_size": (1, 4, 1000)},
    "dissvrg": {
        "staleness": (0, 1, 3),
        "gradient": ("global", "exact", "local"),
        "inner_steps": (1, 5),
        "inner_steps_increment": (1, 3),
        "max_inner_steps": (5, 50),
        "decay": (True,),
        "window": (True,),
        "max_sigma": (0.1, 10.0),
        "safe": (True,),
    },
    "simuparallel": {"averaging_span": (1, 7, 10**6), "batch_size": (1, 4)},
    "average": {"averaging_span": (1, 7, 10**6), "batch_size": (1, 4), "deadline": (1e-9, 1e-4, 10.0)},
    "wpsgd": {
        "averaging_span": (1, 7, 10**6),
        "batch_size": (1, 4),
        "deadline": (1e-9, 1e-4, 10.0),
        "contraction": ("data", 1.0, 0.9, 1e-300),
    },
    "wpsgd-delay": {
        "averaging_span": (7, 10**6),
        "deadline": (1e-4,),
        "contraction": ("data", 0.9),
        "delay": (0, 1, 8),
        "max_retries": (1, 100),
        "strict": (True,),
    },
    "asgd": {
        "batch_size": (1, 7, 10**6, "adaptive"),
        "steps": ("batch", "single"),
        "fanout": (1, 5),
        "buffers": (1, 2),
        "partial": (0.1, 1.0),
        "pull": ("full",),
        "silent": (True,),
        "result": ("mean",),
        "torn": ("accept",),
        "queue_target": (0.5, 10.0),
    },
    "p2p": {
        "batch_size": (1, 4),
        "send_every": (1, 50),
        "max_ahead": (0, 5),
        "max_wait": (0.1,),
        "stop_change": (0.0, 1e-3, 1e300),
        "check_every": (1, 5),
    },
    "map-reduce": {},
    "fedavg": {
        "clients": (3, 4),
        "fraction": (1e-9, 0.5),
        "local_epochs": (2,),
        "batch_size": (1, 4, "all"),
        "failing": (0.3, 1.0),
        "privacy": (
            {"clip_norm": 1.0, "noise_multiplier": 2.0, "noise": "seed"},
            {"clip_norm": 1e-3, "target_epsilon": 3.0, "noise": "seed", "history": "public"},
        ),
    },
    "downpour": {
        "n_fetch": (1, 3),
        "n_push": (1, 4),
        "server_step": ("plain", "adagrad"),
        "ahead": (True,),
        "warm_start": (0, 5),
        "batch_size": (1, 4, 1000),
    },
    "async-fl": {
        "sizes": ("theory", "linear", "constant"),
        "first_size": (1, 20, 10**6),
        "growth": (0.0, 2.5, 100.0),
        "falling": ("linear", "sqrt", "constant"),
        "fall": (0.0, 1e-3, 1.0),
        "max_delay": (0, 1, 5),
        "wait": ("delay",),
        "participation": (0.5,),
        "look_every": (1, 7),
        "batch_size": (1, 4),
        "privacy": ({"clip_norm": 1.0, "noise_multiplier": 2.0, "noise": "seed"},),
    },
    "wpsgd-dm": {
        "averaging_span": (1, 7, 10**6),
        "deadline": (1e-4,),
        "contraction": ("data", 0.9),
        "node_workers": (1, 3),
    },
    "sync": {"batch_size": (1, 4, 1000), "stop_change": (0.0, 1e-3, 1e300), "check_every": (1, 5)},
}
