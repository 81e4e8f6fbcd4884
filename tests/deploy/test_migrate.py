"""Migrations: safe to run again, and nothing runs on a database without them."""

from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.database import check_schema, open_database
from actors.shared.errors import Misconfigured
from actors.shared.reference import encode_reference
from actors.shared.settings import Settings
from actors.shared.tables import KILLMAILS
from deploy.migrate import migrate
from tests.support.made import a_body, a_reference
from tests.support.servers import server_urls
from tests.support.tables import feed_of, rows


def settings_of(database: AsyncEngine, tmp_path: Path) -> Settings:
    if database.dialect.name == "sqlite":
        return Settings(data_dir=tmp_path)
    return Settings(database_url=database.url.render_as_string(hide_password=False))


async def test_a_second_run_changes_nothing(database: AsyncEngine, tmp_path: Path) -> None:
    await store(database, *read([encode_reference(a_reference(a_body(1)))]))
    before = await rows(database, KILLMAILS)
    assert await migrate(settings_of(database, tmp_path)) == "0002"
    assert await rows(database, KILLMAILS) == before
    (place,) = await store(database, *read([encode_reference(a_reference(a_body(2)))]))
    assert place.entry.sequence == 2
    assert len(await feed_of(database)) == 2


async def test_a_database_without_tables_is_said_with_what_to_do(tmp_path: Path) -> None:
    async with open_database(Settings(data_dir=tmp_path)) as engine:
        with pytest.raises(Misconfigured, match="killstream migrate"):
            await check_schema(engine)


@pytest.mark.service
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("@127.0.0.1:", "@127.0.0.1:1"), "no database"),
        ((":killstream@", ":s3cret@"), "password"),
        (("/killstream", "/nowhere"), "nowhere"),
    ],
)
async def test_a_database_that_can_not_be_reached_is_said_without_its_password(
    change: tuple[str, str], reason: str
) -> None:
    url = server_urls()["database_url"].replace("://killstream", "://KS")
    url = url.replace(*change).replace("://KS", "://killstream")
    if change[0] == "@127.0.0.1:":
        url = url.replace(url.rpartition(":")[2], "1/killstream")
    async with open_database(Settings(database_url=url)) as engine:
        with pytest.raises(Misconfigured, match=reason) as refusal:
            await check_schema(engine)
    assert "s3cret" not in str(refusal.value)
    assert ":***@" in str(refusal.value)
