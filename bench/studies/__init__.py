"""The measurements behind the figures and tables of the docs and behind dsgd's defaults: one script each.

Run by hand, when what it measures changes; `make bench` runs `memory.py` as well. What compares with other libraries in
the first place lies in `peers/`, and what repeats a paper in `papers/`.
"""
