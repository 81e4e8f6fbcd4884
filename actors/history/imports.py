"""Import the history of characters, corporations and alliances from zKillboard."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import and_, select, update

from actors.broker import SYNC_QUEUE, actor
from actors.history.errors import Unreadable
from actors.history.zkillboard import MAX_PAGE, Listed, list_page
from actors.killmails.persist import persist_all
from actors.resources import resources
from actors.shared.errors import RetryLater
from actors.shared.reference import Reference, encode_reference
from actors.shared.rejection import encode_rejection
from actors.shared.rows import insert_missing
from actors.shared.tables import IMPORTS, USER_KILLMAILS, USERS

log: Final = structlog.get_logger()

EVERY_S: Final = 1.0
"""Shortest time between the beginnings of two requests, of all processes together."""
WORKS_FOR_S: Final = 45.0
"""How long one message imports; then the import that waited longest goes on."""
LEASE: Final = timedelta(minutes=3)
"""When an import goes on whose process died; longer than one page may take."""
INCOMPLETE: Final = f"zKillboard gives the newest {MAX_PAGE} pages only; what is older is missing"


@actor(queue_name=SYNC_QUEUE, priority=8, scheduled=True)
async def sync_zkillboard() -> None:
    """Import pages of the import that waited longest, at zKillboard's pace.

    One import runs at a time in all processes, so that the pace holds. Idempotent: a page that was
    imported before changes nothing, and after a crash the next page goes on.
    """
    work = await _claim()
    until_s = time.monotonic() + WORKS_FOR_S
    while work is not None and time.monotonic() < until_s:
        began_s = time.monotonic()
        if not await _import_page(work):
            return
        await asyncio.sleep(max(0.0, EVERY_S - (time.monotonic() - began_s)))
        work = await _extend(work)
    if work is not None:
        await _update(work, next_try_at=datetime.now(UTC))


async def _claim() -> Any:
    """Lease the import that waited longest; None while another one runs or zKillboard fails."""
    now = datetime.now(UTC)
    running = (
        select(IMPORTS)
        .where(IMPORTS.c.state == "running")
        .order_by(IMPORTS.c.entity, IMPORTS.c.entity_id)
        .with_for_update()  # of all, so that another process waits and then sees the lease
    )
    async with resources().database.begin() as connection:
        rows = (await connection.execute(running)).all()
        if not rows or any(row.next_try_at > now for row in rows):
            return None
        first = min(rows, key=lambda row: row.next_try_at)
        await connection.execute(_set(first, next_try_at=now + LEASE, state_reason=None))
    return first


async def _extend(work: Any) -> Any:
    """Renew the lease; None when the import was requested anew or deleted meanwhile."""
    now = datetime.now(UTC)
    async with resources().database.begin() as connection:
        extended = await connection.execute(
            _set(work, next_try_at=now + LEASE)
            .where(IMPORTS.c.created_at == work.created_at, IMPORTS.c.state == "running")
            .returning(*IMPORTS.c)
        )
        return extended.one_or_none()


async def _import_page(work: Any) -> bool:
    """Import the next page; returns whether there may be more."""
    opened, page = resources(), work.next_page
    try:
        found = await list_page(opened.settings, opened.http, work.entity, work.entity_id, page)
    except RetryLater as error:
        wait = timedelta(milliseconds=error.delay_ms)
        await _update(work, state_reason=str(error), next_try_at=datetime.now(UTC) + wait)
        log.warning("import.postponed", entity=work.entity, id=work.entity_id, reason=str(error))
        return False
    except Unreadable as error:
        await _end(work, "failed", str(error))
        return False
    source = f"zkillboard:{work.entity}/{work.entity_id}"
    await persist_all(
        [encode_reference(_reference(one, source)) for one in found.listed],
        [encode_rejection(reason, text, source=source) for reason, text in found.refused],
    )
    await _list_for_user(work, source, found.listed)
    total = work.killmails + len(found.listed)
    await _update(work, next_page=page + 1, killmails=total)
    if not (found.listed or found.refused):
        await _end(work, "done", None)
    elif page >= MAX_PAGE:
        await _end(work, "done", INCOMPLETE)
    else:
        return True
    return False


def _reference(one: Listed, source: str) -> Reference:
    return Reference(
        source=source,
        position=one.killmail_id,
        as_of=0.0,  # unknown: zkillboard caches its pages
        killmail_id=one.killmail_id,
        hash=one.killmail_hash,
        zkb=msgspec.Raw(one.zkb),
        body=msgspec.Raw(one.body),
    )


async def _list_for_user(work: Any, source: str, listed: list[Listed]) -> None:
    """Add a user's imported killmails to those it lists."""
    if work.entity != "character" or not listed:
        return
    ids = sorted({one.killmail_id for one in listed})
    async with resources().database.begin() as connection:
        is_user = await connection.scalar(
            select(USERS.c.character_id).where(USERS.c.character_id == work.entity_id)
        )
        if is_user is not None:
            columns = {
                "character_id": [work.entity_id] * len(ids),
                "killmail_id": ids,
                "source": [source] * len(ids),
            }
            await insert_missing(connection, USER_KILLMAILS, columns)


async def _end(work: Any, state: str, reason: str | None) -> None:
    await _update(work, state=state, state_reason=reason)
    log.info("import.ended", entity=work.entity, id=work.entity_id, state=state, reason=reason)


async def _update(work: Any, **values: Any) -> None:
    async with resources().database.begin() as connection:
        statement = _set(work, **values).where(IMPORTS.c.created_at == work.created_at)
        await connection.execute(statement)


def _set(work: Any, **values: Any) -> Any:
    return (
        update(IMPORTS)
        .where(and_(IMPORTS.c.entity == work.entity, IMPORTS.c.entity_id == work.entity_id))
        .values(updated_at=datetime.now(UTC), **values)
    )
