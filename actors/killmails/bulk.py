"""Store many killmails of an archive, without entries of the feed for each."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from actors.killmails.findable import Known, make_findable
from actors.killmails.version import Version, attacker_columns, body_columns, zkb_columns
from actors.shared.dictionaries import current_dictionary
from actors.shared.rows import insert_all, insert_missing
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
    ordered = sorted(versions, key=lambda version: version.killmail.killmail_id)
    created_at = [datetime.now(UTC)] * len(ordered)
    dictionary = await current_dictionary(connection)
    columns = body_columns(ordered, dictionary) | zkb_columns(ordered) | {"created_at": created_at}
    added = set(await insert_missing(connection, KILLMAILS, columns))
    fresh = [version for version in ordered if version.killmail.killmail_id in added]
    if fresh:
        await insert_all(connection, ATTACKERS, attacker_columns(fresh))
    await make_findable(connection, known, fresh, [])
    return len(fresh)
