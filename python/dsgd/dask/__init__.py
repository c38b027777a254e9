"""Fits whose rows lie on the workers of a Dask cluster; docs/design/engines.md says what the engine is used for.

Dask is imported only once a fit is given a client of it.
"""
