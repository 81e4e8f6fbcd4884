"""Synchronize one character's killmails."""

from actors.broker import SYNC_QUEUE, actor
from actors.sync.pages import synchronize
from actors.sync.subject import Subject


@actor(queue_name=SYNC_QUEUE, priority=1)
async def sync_character(character_id: int, full: bool = False) -> None:
    """List a character's recent killmails and have the unknown ones fetched. Idempotent.

    Args:
        character_id: the character; it is skipped when it has to log in.
        full: list all pages, not only up to the first one with nothing new.
    """
    await synchronize(Subject("character", character_id, character_id), full=full)
