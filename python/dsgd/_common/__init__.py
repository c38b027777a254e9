"""Checks, files, threads, memory and warnings: what every folder may import; it imports `dsgd.errors` only."""
