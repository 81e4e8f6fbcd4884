"""Have the bodies fetched that an archive lacks."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.among import among
from actors.shared.feed import HistorySource
from actors.shared.reference import Reference, encode_reference
from actors.shared.rows import Columns, insert_missing
from actors.shared.tables import KILLMAILS, LEDGER

BATCH: Final = 1_000
"""References in one transaction."""
DUE: Final = datetime.fromtimestamp(0, UTC)
"""Entries of the ledger are sent to `fetch` by the next `recall`."""


def source_of(source: HistorySource, day: date) -> str:
    """Return the source of references and rejections of a day's import; `r2z2:` is the feed."""
    kind = "r2z2-history" if source == "r2z2" else source
    return f"{kind}:{day}"


async def have_fetched(database: AsyncEngine, source: str, hashes: Mapping[int, str]) -> int:
    """Have killmails fetched from ESI that aren't stored; return how many.

    They are in the ledger until they are stored or rejected, and get entries of the feed of their
    own. ESI's budget for imports bounds them. Idempotent.

    Args:
        database: Where.
        source: The source of the references, see `source_of`.
        hashes: By killmail_id.
    """
    ids = sorted(hashes)
    wanted = 0
    for start in range(0, len(ids), BATCH):
        some = ids[start : start + BATCH]
        async with database.begin() as connection:
            known = select(KILLMAILS.c.killmail_id).where(among(KILLMAILS.c.killmail_id, some))
            stored = set(await connection.scalars(known))
            missing = [killmail_id for killmail_id in some if killmail_id not in stored]
            columns: Columns = {
                "source": [source] * len(missing),
                "position": missing,
                "reference": [_reference(source, one, hashes[one]) for one in missing],
                "kind": ["received"] * len(missing),
                "killmail_id": missing,
                "killmail_hash": [hashes[one] for one in missing],
                "received_at": [datetime.now(UTC)] * len(missing),
                "next_try_at": [DUE] * len(missing),
            }
            await insert_missing(connection, LEDGER, columns)
            wanted += len(missing)
    return wanted


def _reference(source: str, killmail_id: int, killmail_hash: str) -> bytes:
    return encode_reference(
        Reference(
            source=source,
            position=killmail_id,
            as_of=0.0,  # unknown
            killmail_id=killmail_id,
            hash=killmail_hash,
        )
    )
