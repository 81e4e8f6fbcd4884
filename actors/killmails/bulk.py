"""Store many killmails of an archive, without entries of the feed for each."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.killmails.findable import Known, make_findable
from actors.killmails.version import Version, attacker_columns, body_columns, zkb_columns
from actors.shared.among import among
from actors.shared.dictionaries import current_dictionary
from actors.shared.rows import Columns, copy_all, insert_missing
from actors.shared.tables import ATTACKERS, KILLMAILS


async def store_archived(
    connection: AsyncConnection, known: Known, versions: Sequence[Version]
) -> int:
    """Store killmails that aren't stored yet, in the caller's transaction; return their number.

    What is stored already stays as it is: an archive doesn't say how old its bodies are. Locks in
    the order of `persist`. The caller enters the day in the feed, when all of it is stored.

    Args:
        connection: In a transaction.
        known: Of these killmails, see `known_for`.
        versions: Killmails without a zkb block, each once.
    """
    ids = [version.killmail.killmail_id for version in versions]
    query = select(KILLMAILS.c.killmail_id).where(among(KILLMAILS.c.killmail_id, ids))
    stored = set(await connection.scalars(query))
    missing = [version for version in versions if version.killmail.killmail_id not in stored]
    missing.sort(key=lambda version: version.killmail.killmail_id)
    fresh = await _insert(connection, missing)
    await copy_all(connection, ATTACKERS, attacker_columns(fresh))
    await make_findable(connection, known, fresh, [])
    return len(fresh)


async def _insert(connection: AsyncConnection, versions: Sequence[Version]) -> list[Version]:
    """Insert killmails; return those that weren't stored meanwhile."""
    dictionary = await current_dictionary(connection)
    columns: Columns = body_columns(versions, dictionary) | zkb_columns(versions)
    columns["created_at"] = [datetime.now(UTC)] * len(versions)
    try:
        async with connection.begin_nested():
            await copy_all(connection, KILLMAILS, columns)
    except IntegrityError:  # another transaction has just stored one
        added = set(await insert_missing(connection, KILLMAILS, columns))
        return [version for version in versions if version.killmail.killmail_id in added]
    return list(versions)
