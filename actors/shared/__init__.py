"""What at least two of the packages use, and only that.

A test holds the rule: a module with one user lives with its user.
"""
