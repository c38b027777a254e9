"""What pytest-benchmark measures: passes over the data, the reading of libsvm text, and the network.

`make bench` runs it, `.ci/run` on few rows and without timing. `test_scripts.py` only looks whether the scripts of the
other folders run.
"""
