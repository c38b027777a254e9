"""Differential privacy: noised sums of clipped gradients, their randomness, their accounting, and the ledger of a run.

It imports the arithmetic of workers (`dsgd.cluster.program`) for types only; algorithms stand above it.
"""
