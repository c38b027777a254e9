"""A cluster of virtual nodes in one process, deterministic.

It imports `dsgd.cluster.program` and `runtime`.
"""
