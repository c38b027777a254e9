"""Processes of this machine: how the driver starts them as its children, and what they run.

It imports `dsgd.cluster.program`, `runtime`, `tcp` and `driver`.
"""
