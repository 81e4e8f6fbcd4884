"""Synchronize the killmails that users and their corporations have at ESI."""
