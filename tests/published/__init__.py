"""Builds small copies of published model repositories: their files and names, with random weights
of small width.
"""
