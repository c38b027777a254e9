"""The road of a fit on one machine: what is asked for, first steps, the loop over epochs, divergence, stopping.

It imports `dsgd.algorithms` and `dsgd.results`.
"""
