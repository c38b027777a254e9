"""dsgd beside other libraries: the scripts behind the comparisons of the docs.

Run by hand, before a statement about another library is made or changed. `time_to_accuracy.py` is made of
`solvers.py` (who takes part), `measure.py` and `report.py`.
"""
