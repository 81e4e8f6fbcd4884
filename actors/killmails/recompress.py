"""Recompress stored bodies with the newest dictionary, in the background."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog
import zstandard
from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.among import among
from actors.shared.body import pack, pack_zkb, unpack, unpack_zkb
from actors.shared.daemon import in_daemon
from actors.shared.database import reading
from actors.shared.dictionaries import current_dictionary, read_bodies
from actors.shared.tables import DICTIONARIES, KILLMAILS
from actors.shared.writers import let_others_write

log: Final = structlog.get_logger()

BATCH: Final = 500
"""Bodies in one transaction: what is stored meanwhile waits for some 0.1 s."""
PAUSE_S: Final = 0.1
"""Between batches: on SQLite a writer that waits for the lock polls for it at such intervals."""
WORTH: Final = 0.9
"""A body is stored anew when that makes it smaller than this share."""


_ID: Final = KILLMAILS.c.killmail_id
_BODIES: Final = select(_ID, KILLMAILS.c.body, KILLMAILS.c.zkb)


async def recompress(
    database: AsyncEngine, *, until_s: float = float("inf"), pause_s: float = PAUSE_S
) -> int:
    """Compress older bodies with the newest dictionary; return how many were stored anew.

    Safe beside running processes, to interrupt, and in several processes: how far it is, is
    stored with each batch. A body that was corrected meanwhile stays as it is.

    Args:
        database: Where.
        until_s: The time, of `time.monotonic`, at which it stops.
        pause_s: Between batches.
    """
    changed = 0
    while time.monotonic() < until_s:
        done = await _recompress_batch(database)
        if done is None:
            break
        changed += done
        await asyncio.sleep(pause_s)
    if changed:
        log.info("bodies.recompressed", killmails=changed)
    return changed


async def _recompress_batch(database: AsyncEngine) -> int | None:
    """Do the next batch; None when nothing is left."""
    columns = DICTIONARIES.c
    newest = select(columns.version, columns.dictionary_id, columns.recompressed_to)
    async with reading(database) as connection:
        query = newest.order_by(columns.version.desc()).limit(1)
        state = (await connection.execute(query)).one_or_none()
        if state is None or state.recompressed_to is None:
            return None
        await current_dictionary(connection)
        after = _BODIES.where(state.recompressed_to < _ID).order_by(_ID).limit(BATCH)
        rows = await read_bodies(connection, after)
    smaller = await in_daemon(partial(_pack_anew, rows, state.dictionary_id), "recompress")
    # What is stored after the last one is compressed with the newest already.
    to = rows[-1].killmail_id if len(rows) == BATCH else None
    await let_others_write(database)
    async with database.begin() as connection:
        is_here = (
            columns.version == state.version,
            columns.recompressed_to == state.recompressed_to,
        )
        moved = update(DICTIONARIES).where(*is_here).values(recompressed_to=to)
        if not (await connection.execute(moved)).rowcount:
            return 0  # another process has done this batch
        return await _replace(connection, smaller) if smaller else 0


async def _replace(connection: AsyncConnection, repacked: Sequence[Mapping[str, Any]]) -> int:
    """Store anew what is still the same; locks by id, as `persist` does."""
    ids = [one["id_"] for one in repacked]
    locked = select(_ID).where(among(_ID, ids)).order_by(_ID).with_for_update()
    await connection.execute(locked)
    body, zkb = KILLMAILS.c.body, KILLMAILS.c.zkb
    unchanged = (
        bindparam("id_") == _ID,
        body == bindparam("body_before"),
        zkb.is_not_distinct_from(bindparam("zkb_before", type_=zkb.type)),
    )
    after: dict[str, Any] = {"body": bindparam("body_after"), "zkb": bindparam("zkb_after")}
    await connection.execute(update(KILLMAILS).where(*unchanged).values(after), list(repacked))
    return len(repacked)


def _pack_anew(rows: Sequence[Any], dictionary_id: int) -> list[dict[str, Any]]:
    """Compress what gets smaller by it; each one is read back. What can't be read stays."""
    smaller = []
    for row in rows:
        try:
            body, zkb = unpack(row.body), unpack_zkb(row.zkb)
        except zstandard.ZstdError as error:
            log.error("killmail.unreadable", killmail_id=row.killmail_id, reason=repr(error))
            continue
        packed, packed_zkb = pack(body, dictionary_id), pack_zkb(zkb, dictionary_id)
        is_worth_it = _size(packed, packed_zkb) < WORTH * _size(row.body, row.zkb)
        if is_worth_it and (unpack(packed), unpack_zkb(packed_zkb)) == (body, zkb):
            smaller.append(
                {
                    "id_": row.killmail_id,
                    "body_before": row.body,
                    "zkb_before": row.zkb,
                    "body_after": packed,
                    "zkb_after": packed_zkb,
                }
            )
    return smaller


def _size(body: bytes, zkb: bytes | None) -> int:
    return len(body) + len(zkb or b"")
