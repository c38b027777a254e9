"""Fits on other engines, such as Dask, beside one machine and other libraries; see docs/results/engines.md."""
