"""The experiments of papers again: one script an experiment, which draws its figure into `docs/results/`.

Run by hand, when the algorithm of the paper changes. `year.py` is what the scripts of DisSVRG share.
"""
