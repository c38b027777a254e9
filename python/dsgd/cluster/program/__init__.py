"""Worker programs: their commands, and the task, rows and arithmetic that they are given.

It imports `dsgd.problems` and what lies below it; algorithms for clusters import it.
"""
