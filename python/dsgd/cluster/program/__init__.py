"""What a worker program may say, and what it is given.

It imports `dsgd.problems` and what lies below it; algorithms for clusters import it.
"""
