"""dsgd beside other libraries: the scripts behind the comparisons of the docs.

A script is run by hand before a statement about another library is made or changed.
`time_to_accuracy.py` uses `solvers.py` (the solvers that take part), `measure.py` and `report.py`.
"""
