"""Runs whose rows lie on other hosts: a gate in the driver's process, to which all nodes dial out.

The hosts may be workers of an engine such as Dask, or processes that somebody started by hand.
It imports `dsgd.cluster.driver` and `dsgd.fitting`.
"""
