"""Modules that at least two of the packages use.

A test asserts it: a module with one user belongs in the package of its user.
"""
