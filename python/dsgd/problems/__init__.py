"""One problem as algorithms train it: data, loss, penalty, task, averages, and the memory layout of the data.

It imports `dsgd.models` and what lies below it.
"""
