"""The parts that all drivers share: specification of a run, runner of programs, trace, checkpoint.

A driver runs the programs of a cluster: in virtual time, or on real processes.

It imports `dsgd.algorithms` and `dsgd.cluster.program`.
"""
