"""Whether all stored killmails can be found."""

from typing import Any

from sqlalchemy import select

from actors.shared.finding.windows import Read
from actors.shared.tables import POSTINGS_STATE, UNIVERSE


async def postings_are_complete(read: Read) -> bool:
    """Tell whether all stored killmails have their postings.

    False from an upgrade of a database with killmails until `killstream check --repair` has run
    through.
    """
    rows: Any = await read(select(POSTINGS_STATE.c.complete))
    return bool(rows and rows[0].complete)


async def is_listed_by_universe(read: Read) -> bool | None:
    """Tell whether all killmails have the terms that follow from the loaded universe.

    None when none is loaded: then nothing has such terms.
    """
    listed_at = select(POSTINGS_STATE.c.universe_loaded_at).scalar_subquery()
    loaded_at = select(UNIVERSE.c.loaded_at).scalar_subquery()
    (row,) = await read(select(listed_at.label("listed_at"), loaded_at.label("loaded_at")))
    return None if row.loaded_at is None else bool(row.listed_at == row.loaded_at)
