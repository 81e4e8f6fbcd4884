"""Refresh where characters belong, in bulk, with the history of changes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.broker import CHARACTERS_QUEUE, actor
from actors.entities.kinds import ALLIANCE, CHARACTER, CORPORATION
from actors.entities.refresh import LATER, answered, due, postpone, write, write_refused
from actors.entities.want import want
from actors.esi.affiliations import AFFILIATION_TTL, affiliations_in_halves
from actors.esi.entities import Affiliation
from actors.resources import resources
from actors.shared.rows import Columns, insert_missing
from actors.shared.tables import AFFILIATIONS, CHARACTERS

DOOMHEIM: Final = 1_000_001
"""The corporation of deleted characters."""


@actor(queue_name=CHARACTERS_QUEUE, priority=0, scheduled=True)
async def refresh_characters(character_ids: list[int]) -> None:
    """Ask ESI where characters belong, those for whom that is allowed again. Idempotent.

    A change of corporation, alliance or faction is a row in `affiliations`. Characters that are in
    Doomheim, or that ESI refuses twice, are deleted. Those without an answer stay due.
    """
    left = set(character_ids)
    try:
        rows = {row.character_id: row for row in await due(CHARACTER, character_ids)}
        left &= rows.keys()
        async for found, refused in affiliations_in_halves(resources().esi, sorted(left)):
            async with resources().database.begin() as connection:
                await _store(connection, rows, found)
            if refused:
                await write_refused(CHARACTER, refused, state="deleted")
            left -= {one.character_id for one in found} | set(refused)
        if left:  # ESI left them out
            await _forget(sorted(left))
    except LATER as error:
        await postpone(CHARACTER, sorted(left), error)


async def _forget(ids: Sequence[int]) -> None:
    async with resources().database.begin() as connection:
        await write(connection, CHARACTER, ids, **answered(datetime.now(UTC) + AFFILIATION_TTL))


async def _store(
    connection: AsyncConnection, rows: dict[int, Any], found: Sequence[Affiliation]
) -> None:
    if not found:
        return
    now = datetime.now(UTC)
    ids = sorted(one.character_id for one in found)
    await write(connection, CHARACTER, ids, **answered(now + AFFILIATION_TTL))
    await connection.execute(_UPDATE, [_parameters(one) for one in found])
    changed = sorted(
        (one for one in found if _belongs(rows[one.character_id]) != _belongs(one)),
        key=lambda one: one.character_id,
    )
    columns: Columns = {
        "character_id": [one.character_id for one in changed],
        "since": [now] * len(changed),
        "corporation_id": [one.corporation_id for one in changed],
        "alliance_id": [one.alliance_id for one in changed],
        "faction_id": [one.faction_id for one in changed],
    }
    await insert_missing(connection, AFFILIATIONS, columns)
    await want(connection, CORPORATION, {one.corporation_id for one in changed} - {DOOMHEIM})
    await want(connection, ALLIANCE, {one.alliance_id for one in changed if one.alliance_id})


def _belongs(one: Any) -> tuple[int | None, int | None, int | None]:
    return one.corporation_id, one.alliance_id, one.faction_id


_UPDATE: Final = (
    update(CHARACTERS)
    .where(CHARACTERS.c.character_id == bindparam("id_"))
    .values(
        state=bindparam("state_"),
        corporation_id=bindparam("corporation_id_"),
        alliance_id=bindparam("alliance_id_"),
        faction_id=bindparam("faction_id_"),
    )
)


def _parameters(one: Affiliation) -> dict[str, Any]:
    return {
        "id_": one.character_id,
        "state_": "deleted" if one.corporation_id == DOOMHEIM else "active",
        "corporation_id_": one.corporation_id,
        "alliance_id_": one.alliance_id,
        "faction_id_": one.faction_id,
    }
