"""Whoever drives a run on real processes: its options, its supervision, its records and its checkpoints.

It knows nothing of where the processes come from. It imports `dsgd.cluster.program`, `runtime` and `tcp`.
"""
