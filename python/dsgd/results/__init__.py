"""The result of a fit, its history and progress, and their files.

It imports `dsgd.algorithms` and what lies below it.
"""
