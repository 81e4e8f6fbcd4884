"""Send ledger entries again whose source is no longer polled.

A poller recalls the entries of its own source only. This covers the sources of former settings and
rejected records that are retried.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import and_, bindparam, or_, select, update

from actors.broker import DATABASE_QUEUE, actor, enqueue
from actors.killmails.fetch import fetch
from actors.killmails.persist import persist
from actors.killmails.reject import reject
from actors.resources import resources
from actors.shared.errors import Invalid
from actors.shared.reference import SYNC_SOURCES, Reference, decode_reference, encode_reference
from actors.shared.rejection import REJECTED_SOURCE, encode_rejection
from actors.shared.tables import LEDGER

log: Final = structlog.get_logger()

ENTRIES: Final = 100
"""Entries in one transaction."""
UNPOLLED: Final = timedelta(minutes=5)
"""Overdue time after which an entry has no poller, which would have sent it within seconds."""
GONE: Final = timedelta(days=1)
"""Overdue time after which an entry without a reference is fetched from ESI by id and hash."""
FIRST_WAIT: Final = timedelta(minutes=15)
MAX_WAIT: Final = timedelta(hours=6)


@actor(queue_name=DATABASE_QUEUE, priority=4, scheduled=True)
async def recall() -> None:
    """Send overdue entries to `persist` or `fetch` and set when they are due next. Idempotent."""
    sent = 0
    while entries := await _claim():
        await _send(entries)
        sent += len(entries)
    if sent:
        log.info("ledger.recalled", entries=sent)


async def _claim() -> Sequence[Any]:
    now = datetime.now(UTC)
    first, end = SYNC_SOURCES
    is_unpolled = or_(
        and_(LEDGER.c.source == REJECTED_SOURCE, LEDGER.c.next_try_at <= now),
        and_(LEDGER.c.source >= first, LEDGER.c.source < end, LEDGER.c.next_try_at <= now),
        and_(LEDGER.c.reference.is_not(None), LEDGER.c.next_try_at < now - UNPOLLED),
        and_(LEDGER.c.killmail_hash.is_not(None), LEDGER.c.next_try_at < now - GONE),
    )
    query = (
        select(LEDGER)
        .where(LEDGER.c.kind == "received", is_unpolled)
        .order_by(LEDGER.c.source, LEDGER.c.position)
        .limit(ENTRIES)
        .with_for_update(skip_locked=True)
    )
    claim = (
        update(LEDGER)
        .where(LEDGER.c.source == bindparam("at_source"), LEDGER.c.position == bindparam("at"))
        .values(tries=bindparam("tries_now"), next_try_at=bindparam("next"))
    )
    async with resources().database.begin() as connection:
        entries = (await connection.execute(query)).all()
        if entries:
            await connection.execute(
                claim,
                [
                    {
                        "at_source": entry.source,
                        "at": entry.position,
                        "tries_now": entry.tries + 1,
                        "next": now + min(FIRST_WAIT * 2 ** min(entry.tries, 16), MAX_WAIT),
                    }
                    for entry in entries
                ],
            )
    return entries


async def _send(entries: Sequence[Any]) -> None:
    with_body: list[bytes] = []
    without_body: list[bytes] = []
    rejections: list[bytes] = []
    for entry in entries:
        value = entry.reference or encode_reference(_reference_of(entry))
        try:
            (with_body if decode_reference(value).body else without_body).append(value)
        except Invalid as error:
            rejection = encode_rejection(
                str(error), value, source=entry.source, position=entry.position
            )
            rejections.append(rejection)
    for value in with_body:  # one message each: bodies may be large
        await enqueue(persist, [value])
    if without_body:
        await enqueue(fetch, without_body)
    if rejections:
        await enqueue(reject, rejections)


def _reference_of(entry: Any) -> Reference:
    """Make a reference from the id and hash of an entry whose source is no longer polled.

    Its time is unknown: ours doesn't compare with the upstream's.
    """
    return Reference(
        source=entry.source,
        position=entry.position,
        as_of=0.0,
        killmail_id=entry.killmail_id,
        hash=entry.killmail_hash,
    )
