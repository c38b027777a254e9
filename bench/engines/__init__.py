"""Fits on other engines, such as Dask, beside one machine and other libraries (docs/results/dask.json)."""
