"""Processes of this machine: the driver, its messages to the children, and what they run.

It imports `dsgd.cluster.program`, `runtime` and `tcp`.
"""
