"""The numbers of zKillboard's labels, by which `postings` lists killmails."""

from collections.abc import Collection
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.among import among
from actors.shared.database import reading
from actors.shared.rows import insert_missing
from actors.shared.tables import LABELS

_known: WeakKeyDictionary[Engine, dict[str, int]] = WeakKeyDictionary()
"""Committed numbers, by database: a label keeps its number."""


async def number_labels(database: AsyncEngine, labels: Collection[str]) -> dict[str, int]:
    """Return the number of each label; new labels get one, in a transaction of its own."""
    known = _known.setdefault(database.sync_engine, {})
    missing = set(labels) - known.keys()
    while missing:
        async with reading(database) as connection:
            of_missing = among(LABELS.c.label, missing)
            rows = await connection.execute(select(LABELS).where(of_missing))
            known.update({row.label: row.label_id for row in rows})
        missing -= known.keys()
        if missing:  # another process may take the same numbers: then it is tried again
            async with database.begin() as connection:
                last = await connection.scalar(select(func.max(LABELS.c.label_id))) or 0
                new = sorted(missing)
                numbers = list(range(last + 1, last + 1 + len(new)))
                await insert_missing(connection, LABELS, {"label_id": numbers, "label": new})
    return {label: known[label] for label in labels}
