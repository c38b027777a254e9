"""The measurements behind the figures and tables of the docs and behind dsgd's defaults: one script each.

A script is run by hand when the code that it measures changes; `make bench` also runs `memory.py`.
Comparisons with other libraries are in `peers/`, and experiments of papers in `papers/`.
"""
