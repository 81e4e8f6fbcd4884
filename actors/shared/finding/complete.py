"""Whether all stored killmails can be found."""

from typing import Any

from sqlalchemy import select

from actors.shared.finding.windows import Read
from actors.shared.tables import POSTINGS_STATE


async def postings_are_complete(read: Read) -> bool:
    """Tell whether all stored killmails have their postings.

    False from an upgrade of a database with killmails until `killstream check --repair` has run
    through.
    """
    rows: Any = await read(select(POSTINGS_STATE.c.complete))
    return bool(rows and rows[0].complete)
