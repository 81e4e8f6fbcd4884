"""Hold back killmails whose owners delay their publication, in the table `delayed`.

Only what a user's sync brings is held back: what the live feed or zKillboard gives is public. The
shortest delay of the users who brought a killmail holds, counted from the kill.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.killmails.version import Arrival
from actors.shared.among import among
from actors.shared.reference import SYNC_SOURCES
from actors.shared.rows import insert_into
from actors.shared.tables import DELAYED, KILLMAILS, USER_KILLMAILS, USERS

_LOCK: Final = 7_305_809_156_287_101_798
"""PostgreSQL's advisory lock of the lists."""


async def hold_back(
    connection: AsyncConnection, arrivals: Sequence[Arrival]
) -> tuple[list[Arrival], list[tuple[str, int]]]:
    """Write what may not be published yet to `delayed`.

    Returns:
        The other arrivals, and the positions of all syncs that listed one of these killmails: it
        is fetched once for all of them.

    What was delayed and may be published now is deleted from `delayed`, in the transaction that
    stores it. A killmail that a sync brought for users who were all deleted is dropped.
    """
    brought = {a.version.killmail.killmail_id: a for a in arrivals if a.version.origin == "sync"}
    if not brought:
        return list(arrivals), []
    ids = sorted(brought)
    await _share_lists(connection)
    delays_h = await _delays_h(connection, ids)
    public = set(
        await connection.scalars(
            select(KILLMAILS.c.killmail_id).where(among(KILLMAILS.c.killmail_id, ids))
        )
    )
    now = datetime.now(UTC)
    due = {id_: _publish_at(brought[id_], delays_h.get(id_)) for id_ in ids if id_ not in public}
    held = {id_: at for id_, at in due.items() if at is None or at > now}
    await _delete(connection, [id_ for id_ in ids if held.get(id_) is None])
    await _insert(connection, [(brought[id_], at) for id_, at in held.items() if at is not None])
    publishable = [
        a
        for a in arrivals
        if not (a.version.origin == "sync" and a.version.killmail.killmail_id in held)
    ]
    return publishable, await _positions(connection, ids)


async def lock_lists(connection: AsyncConnection) -> None:
    """Exclude all others until the commit: what records a list, and what stores what lists named.

    So a list that is recorded sees each killmail either in the ledger or stored, and what is
    stored is acked for all lists.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


async def _share_lists(connection: AsyncConnection) -> None:
    """Exclude what records a list until the commit."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text(f"SELECT pg_advisory_xact_lock_shared({_LOCK})"))


async def _positions(connection: AsyncConnection, ids: Collection[int]) -> list[tuple[str, int]]:
    listed = USER_KILLMAILS.c
    first, end = SYNC_SOURCES
    query = (
        select(listed.source, listed.killmail_id)
        .where(among(listed.killmail_id, ids))
        .where(listed.source >= first, listed.source < end)  # imports have no ledger entries
        .distinct()
    )
    return [(row.source, row.killmail_id) for row in await connection.execute(query)]


def _publish_at(arrival: Arrival, delay_h: int | None) -> datetime | None:
    """Return when a killmail may be published; None when no user is left who brought it."""
    if delay_h is None:
        return None
    return arrival.version.killmail.killmail_time + timedelta(hours=delay_h)


async def _delays_h(connection: AsyncConnection, ids: Collection[int]) -> dict[int, int]:
    """Read the shortest delay of the users who brought each killmail."""
    query = (
        select(USER_KILLMAILS.c.killmail_id, func.min(USERS.c.publication_delay_h))
        .join(USERS, USERS.c.character_id == USER_KILLMAILS.c.character_id)
        .where(among(USER_KILLMAILS.c.killmail_id, ids))
        .group_by(USER_KILLMAILS.c.killmail_id)
    )
    return {row[0]: row[1] for row in await connection.execute(query)}


async def _delete(connection: AsyncConnection, ids: Collection[int]) -> None:
    """Delete rows, locked in the order of their ids as everywhere."""
    if ids:
        locked = (
            select(DELAYED.c.killmail_id)
            .where(among(DELAYED.c.killmail_id, ids))
            .order_by(DELAYED.c.killmail_id)
            .with_for_update()
        )
        await connection.execute(delete(DELAYED).where(DELAYED.c.killmail_id.in_(locked)))


async def _insert(connection: AsyncConnection, held: Sequence[tuple[Arrival, datetime]]) -> None:
    """Insert killmails, or update when they become public; in the order of their ids."""
    if not held:
        return
    insert = insert_into(connection, DELAYED)
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=[DELAYED.c.killmail_id],
            set_={"publish_at": insert.excluded.publish_at},
        ),
        [
            {
                "killmail_id": arrival.version.killmail.killmail_id,
                "killmail_time": arrival.version.killmail.killmail_time,
                "reference": arrival.value,
                "publish_at": publish_at,
            }
            for arrival, publish_at in held
        ],
    )
