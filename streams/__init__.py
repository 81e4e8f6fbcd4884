"""Poll the source and send its killmails to the actors; no slow external calls.

source -> killmails.received -> ingest -> one message per batch to the actors.
"""
