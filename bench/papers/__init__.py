"""Experiments of papers, repeated: each script draws one figure into `docs/results/`.

A script is run by hand when the algorithm of its paper changes. The scripts of DisSVRG share
`year.py`.
"""
