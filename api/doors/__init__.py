"""Doors to the feed beside GraphQL: other protocols that clients of killmails speak.

Each door reads the same entries by the same tail. A door holds no queue for a client: its client
has a position in the feed, so a slow one takes no memory and loses nothing.
"""
