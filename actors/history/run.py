"""The actors that import history by days, a message for each day."""

from datetime import date
from typing import Final

from actors.broker import HISTORY_QUEUE, actor, enqueue
from actors.history.day import import_leased
from actors.history.schedule import lease_day, take_due
from actors.killmails.publish import publish_or_leave
from actors.killmails.reject import publish_rejections
from actors.resources import resources

MESSAGES: Final = 40
"""Days for which there are messages at once."""


@actor(queue_name=HISTORY_QUEUE, scheduled=True)
async def schedule_days() -> None:
    """Send a message for each day that was requested and is due, some at a time. Idempotent."""
    for day in await take_due(resources().database, MESSAGES):
        await enqueue(import_day, day.isoformat())


@actor(queue_name=HISTORY_QUEUE, scheduled=True)
async def import_day(day: str) -> None:
    """Import a day (YYYY-MM-DD), unless another process does or did. Idempotent.

    What is postponed, or was interrupted, gets another message when it is due.
    """
    opened = resources()
    leased = await lease_day(opened.database, date.fromisoformat(day))
    if leased is None:
        return
    entry = await import_leased(
        opened.settings, opened.database, opened.http, leased, publish_rejections
    )
    if entry:
        await publish_or_leave([entry])
