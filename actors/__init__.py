"""The dramatiq actors: all work on external servers that may fail, and the resources it uses.

`actors` imports neither `streams` nor `api`; both import it. Modules that two or more packages use
are in `actors.shared`.
"""
