"""Fits whose rows lie on the workers of a Dask cluster; docs/design/engines.md says what the engine is used for.

Nothing here is imported before a fit is given a client of Dask.
"""
