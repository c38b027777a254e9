"""Modules that scripts of several folders share.

They hold data, problems and their optima, timed fits, timing in turn, and the machine.

These modules are not run themselves. They import each other and dsgd, and nothing of the other
folders here. A module that only one folder needs is in that folder.
"""
