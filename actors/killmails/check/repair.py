"""Repair what a check found."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.killmails.check.findings import Findings
from actors.killmails.check.stored import Stored, by_ids, read_stored
from actors.killmails.findable import Known, day_of, known_for, posted
from actors.killmails.postings import (
    Correction,
    Posted,
    correct_postings,
    extend_days,
    lock_blocks,
)
from actors.killmails.version import attacker_columns
from actors.shared.database import reading
from actors.shared.rows import insert_all
from actors.shared.tables import ATTACKERS, KILLMAILS
from actors.shared.writers import let_others_write

BATCH: Final = 500
"""Killmails in one transaction: what is stored meanwhile waits for about 0.2 s at most."""


async def repair(database: AsyncEngine, found: Findings) -> None:
    """Derive anew what differs, from what is stored now; safe beside the running pipeline."""
    ids = found.to_repair()
    for start in range(0, len(ids), BATCH):
        await _repair_batch(database, found, ids[start : start + BATCH])


async def _repair_batch(database: AsyncEngine, found: Findings, ids: Sequence[int]) -> None:
    async with reading(database) as connection:
        stored = await read_stored(connection, by_ids(ids))
    known = await known_for(database, stored.versions)
    await let_others_write(database)
    async with database.begin() as connection:
        stored = await read_stored(connection, by_ids(ids).with_for_update())
        await lock_blocks(connection, ids, exclusive=True)
        await _repair_columns(connection, found, stored)
        await _repair_attackers(connection, found, stored)
        await _repair_postings(connection, found, stored, ids, known)
        await extend_days(connection, map(day_of, stored.versions))


async def _repair_columns(connection: AsyncConnection, found: Findings, stored: Stored) -> None:
    for row, derived in zip(stored.rows, stored.derived(), strict=True):
        if row.killmail_id in found.columns:
            of_row = KILLMAILS.c.killmail_id == row.killmail_id
            await connection.execute(update(KILLMAILS).where(of_row).values(derived))


async def _repair_attackers(connection: AsyncConnection, found: Findings, stored: Stored) -> None:
    versions = [v for v in stored.versions if v.killmail.killmail_id in found.attackers]
    if versions:
        for version in versions:
            of_killmail = ATTACKERS.c.killmail_id == version.killmail.killmail_id
            await connection.execute(ATTACKERS.delete().where(of_killmail))
        await insert_all(connection, ATTACKERS, attacker_columns(versions))


async def _repair_postings(
    connection: AsyncConnection,
    found: Findings,
    stored: Stored,
    ids: Sequence[int],
    known: Known,
) -> None:
    present = {v.killmail.killmail_id: posted(v, known) for v in stored.versions}
    await correct_postings(
        connection,
        [
            Correction(
                found.postings.get(killmail_id, set()),
                present.get(killmail_id, Posted(killmail_id, frozenset(), None)),
            )
            for killmail_id in ids
            if killmail_id not in stored.unreadable
        ],
    )
