"""The connections of a worker to the parameter servers and its peers.

It imports `dsgd.cluster.program` and `runtime`.
"""
