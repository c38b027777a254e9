"""A fit on one machine: its specification, the step search, the loop over epochs, divergence, stopping rules.

It imports `dsgd.algorithms` and `dsgd.results`.
"""
