"""Compress bodies with dictionaries: train the first one, and recompress older bodies."""

from time import monotonic
from typing import Final

from actors.broker import DATABASE_QUEUE, actor
from actors.killmails.dictionary import train_first
from actors.killmails.recompress import recompress
from actors.resources import resources

WORKS_FOR_S: Final = 20.0
"""How long one message recompresses; the next one goes on."""


@actor(queue_name=DATABASE_QUEUE, priority=8, scheduled=True)
async def compress() -> None:
    """Train a dictionary from the first killmails; recompress, a part at a time. Idempotent."""
    database = resources().database
    await train_first(database)
    await recompress(database, until_s=monotonic() + WORKS_FOR_S)
