"""Rows of many values are found by an index."""

import pytest
from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.among import among
from actors.shared.tables import KILLMAILS, NAMES, POSTINGS

QUERIES: dict[str, Select[int]] = {
    "killmails": select(KILLMAILS.c.killmail_id).where(among(KILLMAILS.c.killmail_id, [1, 2])),
    "names": select(NAMES.c.id).where(among(NAMES.c.id, [1, 2]), NAMES.c.name.is_not(None)),
    "postings": select(POSTINGS.c.key).where(among(POSTINGS.c.key, [1, 2])),
}


@pytest.mark.parametrize("table", QUERIES)
async def test_sqlite_scans_no_table(sqlite: AsyncEngine, table: str) -> None:
    statement = QUERIES[table].compile(sqlite, compile_kwargs={"literal_binds": False})
    async with sqlite.connect() as connection:
        explained = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", ("[1, 2]",))
        plan = str(explained.all())
    assert f"SEARCH {table}" in plan
    assert f"SCAN {table}" not in plan


async def test_what_is_not_among_them_stays(sqlite: AsyncEngine) -> None:
    rows = [{"key": key, "top": 0, "places": b"", "worths": b""} for key in (1, 2, 3)]
    async with sqlite.begin() as connection:
        await connection.execute(POSTINGS.insert(), rows)
        await connection.execute(delete(POSTINGS).where(~among(POSTINGS.c.key, [1, 3])))
        left = (await connection.scalars(select(POSTINGS.c.key).order_by(POSTINGS.c.key))).all()
    assert left == [1, 3]
