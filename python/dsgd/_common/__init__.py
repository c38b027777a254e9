"""Checks, files, memory, threads and warnings, for all folders of the package.

Every folder may import this one. This one imports `dsgd.errors` only.
"""
