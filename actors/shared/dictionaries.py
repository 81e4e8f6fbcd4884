"""Read bodies together with the dictionaries that they need.

A body is stored after its dictionary was committed. So whoever sees the body finds the dictionary,
in the same or any later state of the database: it is looked up when a row needs it, and no process
has to be told of a new one.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.among import among
from actors.shared.body import NO_DICTIONARY, dictionary_of, is_known, learn
from actors.shared.tables import DICTIONARIES

_PACKED: Final = frozenset({"body", "zkb"})

Read = Callable[[Select[Any]], Awaitable[Iterable[Any]]]
"""Runs a query."""


async def read_bodies(connection: AsyncConnection, query: Select[Any]) -> Sequence[Any]:
    """Run a query whose columns `body` and, if it has it, `zkb` are to be unpacked."""
    rows: Sequence[Any] = (await connection.execute(query)).all()
    await learn_dictionaries(connection.execute, rows)
    return rows


async def learn_dictionaries(read: Read, rows: Iterable[Any]) -> None:
    """Read the dictionaries that rows need and this process doesn't know."""
    needed = {
        dictionary_of(packed)
        for row in rows
        for name, packed in dict(row._mapping).items()
        if name in _PACKED and packed is not None
    }
    await _learn(read, {one for one in needed if not is_known(one)})


async def current_dictionary(connection: AsyncConnection) -> int:
    """Return the id of the newest dictionary, for `pack`; `NO_DICTIONARY` without any.

    Ask in the transaction that stores what is packed with it: what a process remembers may have
    been taken back with the database, by a backup that was restored.
    """
    column = DICTIONARIES.c.dictionary_id
    newest = select(column).order_by(DICTIONARIES.c.version.desc()).limit(1)
    dictionary_id: int = await connection.scalar(newest) or NO_DICTIONARY
    if not is_known(dictionary_id):
        await _learn(connection.execute, {dictionary_id})
    return dictionary_id


async def _learn(read: Read, ids: Iterable[int]) -> None:
    wanted = sorted(ids)
    if wanted:
        columns = DICTIONARIES.c
        query = select(columns.dictionary_id, columns.dictionary)
        for row in await read(query.where(among(columns.dictionary_id, wanted))):
            learn(row._mapping["dictionary_id"], row._mapping["dictionary"])
