"""Moves killmails and does nothing that can fail slowly.

source -> killmails.received -> ingest -> one message per batch to the actors.
"""
