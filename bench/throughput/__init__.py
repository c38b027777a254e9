"""Benchmarks of pytest-benchmark: passes over data, the reading of libsvm text, the network.

`make bench` runs them, `.ci/run` on few rows and without timing. `test_scripts.py` only checks that
the scripts of the other folders run.
"""
