"""Runs compared: differences with intervals and p-values, and the queries where they differ.

settings     which runs are seeds of one setting
differences  tables of differences, also in LaTeX;  compare: the whole comparison
queries      queries that one model answers and another does not
"""
