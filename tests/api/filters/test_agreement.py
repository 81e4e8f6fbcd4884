"""Index and predicate select the same killmails, for drawn filters, on both databases."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.finding import windows
from actors.shared.settings import Settings
from api.filters import space
from tests.api.filters.real import drawing, found_by_index, found_by_predicate, load, subjects
from tests.support.killmails import references

KILLMAILS = 600
FILTERS = 100


async def test_index_and_predicate_agree(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "MAX_SYSTEM_TERMS", 5)
    some = list(references(KILLMAILS))
    await load(database, some)
    drawn = drawing(some, seed=9)
    if database.dialect.name == "sqlite":
        settings = Settings(data_dir=str(database.url.database).rsplit("/", 1)[0])
    else:
        url = database.url.render_as_string(hide_password=False)
        settings = Settings(database_url=url, database_pool_size=4)
    hits = 0
    async with subjects(settings) as (facts, of):
        assert len(of) == len(some) > KILLMAILS / 2
        for index in range(FILTERS):
            monkeypatch.setattr(windows, "MAX_KNOWN", (10, 20_000)[index % 2])
            filter_ = drawn.filter()
            found = await found_by_index(facts, filter_)
            assert found == await found_by_predicate(facts, filter_, of), filter_
            hits += 0 < len(found) < len(of)
    assert hits > FILTERS / 3
