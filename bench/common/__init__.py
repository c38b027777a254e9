"""What scripts of several folders share: data, problems and their optima, timed fits, timing in turn, and the machine.

Nobody runs these modules. They import each other and dsgd, and nothing of the folders beside this one; a module that
only one folder needs lies there.
"""
