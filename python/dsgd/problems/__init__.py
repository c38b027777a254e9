"""One problem as algorithms train it: data, loss and penalty, its task, averages, the order of the data in memory.

It imports `dsgd.models` and what lies below it.
"""
