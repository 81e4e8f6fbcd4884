"""Hosts the three packages: the command line, the embedded mode, the stand-in, the servers."""
