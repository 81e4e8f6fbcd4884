"""Runs the three packages: command line, embedded mode, stand-in, local servers."""
