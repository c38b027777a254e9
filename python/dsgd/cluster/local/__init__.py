"""Processes of this machine: the driver, its protocol with the children, and what each child runs.

It imports `dsgd.cluster.program`, `runtime` and `tcp`.
"""
