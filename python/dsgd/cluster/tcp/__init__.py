"""The drivers of a worker and of a server over TCP, without processes of their own.

It imports `dsgd.cluster.program` and `runtime`.
"""
