"""Logging in: the addresses that browsers visit, and who asks in each request."""
