"""Read at once what many resolvers of one answer need of the database: DataLoaders.

Nothing is cached: a subscription's loaders live as long as it.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from aiodataloader import DataLoader
from sqlalchemy import select

from actors.entities.kinds import KINDS, Kind
from actors.shared.among import among
from api import reads
from api.database import ReadDatabase

Row = Mapping[str, Any]

MAX_BATCH: Final = 5_000
"""Ids that are read with one statement."""


class Loaders:
    """Belong to one operation."""

    def __init__(self, database: ReadDatabase) -> None:
        self._database = database
        self.names: DataLoader[int, str | None] = _loader(self._names)
        """Names by id; None for one that isn't known."""
        self._rows = {name: _loader(partial(self._read_rows, kind)) for name, kind in KINDS.items()}

    async def row(self, kind: Kind, id_: int) -> Row | None:
        """Return the row of an entity; None when no killmail mentions it."""
        row: Row | None = await self._rows[kind.name].load(id_)
        return row

    async def _names(self, ids: list[int]) -> list[str | None]:
        known = await reads.names(self._database, set(ids))
        return list(map(known.get, ids))

    async def _read_rows(self, kind: Kind, ids: list[int]) -> list[Row | None]:
        rows = await self._database.fetch_all(select(kind.table).where(among(kind.key, set(ids))))
        known = {row[kind.key.name]: dict(row._mapping) for row in rows}
        return [known.get(id_) for id_ in ids]


def _loader(read: Any) -> DataLoader[int, Any]:
    return DataLoader(read, max_batch_size=MAX_BATCH, cache=False)
