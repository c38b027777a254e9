"""What a fit returns: the result, its history and progress, and their files.

It imports `dsgd.algorithms` and what lies below it.
"""
