"""What every driver shares: the assignment of a run, the runner of a program, traces, checkpoints.

It imports `dsgd.algorithms` and `dsgd.cluster.program`.
"""
