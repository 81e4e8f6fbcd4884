"""Migrations: safe to run again and at once; each refusal of the database is one line."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.database import check_schema, open_database
from actors.shared.database_errors import SchemaMismatch, when_database_available
from actors.shared.errors import KillstreamError, Misconfigured, ServerUnavailable
from actors.shared.reference import encode_reference
from actors.shared.settings import Settings
from actors.shared.tables import KILLMAILS, REVISION
from deploy import migrate as module
from deploy.migrate import Migrated, migrate
from deploy.ports import free_port
from tests.support.made import a_body, a_reference
from tests.support.proxy import open_proxy
from tests.support.servers import fresh_database, server_urls
from tests.support.tables import feed_of, rows
from tests.support.waiting import within

FILE = "killstream.db"
AT_ONCE_S = 60


def settings_of(database: AsyncEngine, tmp_path: Path) -> Settings:
    if database.dialect.name == "sqlite":
        return Settings(data_dir=tmp_path)
    return Settings(database_url=database.url.render_as_string(hide_password=False))


async def set_revision(database: AsyncEngine, revision: str) -> None:
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE alembic_version SET version_num = :it"), {"it": revision}
        )


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(urlsplit(url)._replace(scheme="postgresql").geturl())
    await connection.execute(statement)
    await connection.close()


def test_the_tables_are_those_of_the_last_migration() -> None:
    config = Config()
    folder = Path(module.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


async def test_a_second_run_changes_nothing(database: AsyncEngine, tmp_path: Path) -> None:
    await store(database, *read([encode_reference(a_reference(a_body(1)))]))
    before = await rows(database, KILLMAILS)
    assert await migrate(settings_of(database, tmp_path)) == Migrated(REVISION, REVISION)
    assert await rows(database, KILLMAILS) == before
    (place,) = await store(database, *read([encode_reference(a_reference(a_body(2)))]))
    assert place.entry.sequence == 2
    assert len(await feed_of(database)) == 2


@pytest.mark.service
@pytest.mark.parametrize("table", ["login_states", "sessions"])
async def test_expired_rows_are_deleted_by_an_index(postgresql: AsyncEngine, table: str) -> None:
    async with postgresql.begin() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))  # the table is empty
        plan = text(f"EXPLAIN DELETE FROM {table} WHERE expires_at < now()")
        assert f"{table}_expired" in str((await connection.scalars(plan)).all())


async def at_once(settings: Settings) -> list[Migrated | BaseException]:
    runs = (migrate(settings) for _ in range(5))
    async with within(AT_ONCE_S, lambda: "they wait for each other"):
        return sorted(await asyncio.gather(*runs, return_exceptions=True), key=str)


async def test_many_at_once_on_an_empty_file(tmp_path: Path) -> None:
    runs = await at_once(Settings(data_dir=tmp_path))
    assert runs == [Migrated(REVISION, REVISION)] * 4 + [Migrated(None, REVISION)]


@pytest.mark.service
async def test_many_at_once_on_an_empty_server() -> None:
    async with fresh_database() as url:
        runs = await at_once(Settings(database_url=url))
    assert runs == [Migrated(REVISION, REVISION)] * 4 + [Migrated(None, REVISION)]


async def test_tables_of_a_newer_version_are_not_changed(
    database: AsyncEngine, tmp_path: Path
) -> None:
    await set_revision(database, "9999")
    with pytest.raises(SchemaMismatch, match=r"older Killstream than the database.*9999; update"):
        await migrate(settings_of(database, tmp_path))
    with pytest.raises(SchemaMismatch, match=r"older Killstream than the database.*9999; update"):
        await check_schema(database)


async def test_tables_of_an_older_version_are_refused(database: AsyncEngine) -> None:
    await set_revision(database, "0001")
    with pytest.raises(SchemaMismatch, match=r"0001 and not .* run `killstream migrate`"):
        await check_schema(database)


async def test_tables_of_this_version_are_accepted(database: AsyncEngine) -> None:
    await check_schema(database)


async def test_a_file_without_tables_is_reported_with_the_remedy(tmp_path: Path) -> None:
    async with open_database(Settings(data_dir=tmp_path)) as engine:
        with pytest.raises(
            SchemaMismatch, match=r"killstream.db has no Killstream tables.*migrate"
        ):
            await check_schema(engine)


@pytest.mark.service
async def test_a_server_without_tables_is_reported_with_the_remedy() -> None:
    async with fresh_database() as url, open_database(Settings(database_url=url)) as engine:
        with pytest.raises(SchemaMismatch, match=r"has no Killstream tables: run .*migrate"):
            await check_schema(engine)


async def refusal_of(settings: Settings) -> KillstreamError:
    """Give what both commands and processes say; it is one line."""
    with pytest.raises(KillstreamError) as migrating:
        await migrate(settings, wait_s=0)
    async with open_database(settings) as engine:
        with pytest.raises(type(migrating.value)) as checking:
            await check_schema(engine, wait_s=0)
    for refusal in (migrating.value, checking.value):
        assert "\n" not in str(refusal)
        assert "migrate" not in str(refusal)
        assert "s3cret" not in str(refusal)
    return migrating.value


@pytest.mark.service
@pytest.mark.parametrize(
    ("login", "path", "reason"),
    [
        ("killstream:s3cret@", "/killstream", "password authentication failed"),
        ("nobody:s3cret@", "/killstream", "password authentication failed"),
        ("killstream:killstream@", "/nowhere", '"nowhere" does not exist'),
        ("killstream:killstream@", "/killstream?sslmode=require", "rejected SSL upgrade"),
        ("killstream:killstream@", "/killstream?options=-cno_such%3D1", "unrecognized config"),
        ("killstream:killstream@", "/killstream?options=-cstatement_timeout%3Dx", "invalid value"),
    ],
)
async def test_a_wrong_login_or_database_is_a_wrong_setting(
    login: str, path: str, reason: str
) -> None:
    host = urlsplit(server_urls()["database_url"]).netloc.rpartition("@")[2]
    refusal = await refusal_of(Settings(database_url=f"postgresql://{login}{host}{path}"))
    assert isinstance(refusal, Misconfigured)
    assert reason in str(refusal)
    assert "KILLSTREAM_DATABASE_URL" in str(refusal)


async def test_a_stopped_server_is_unavailable() -> None:
    url = f"postgresql://u:s3cret@127.0.0.1:{free_port()}/d"
    refusal = await refusal_of(Settings(database_url=url))
    assert isinstance(refusal, ServerUnavailable)
    assert "start it, or correct KILLSTREAM_DATABASE_URL" in str(refusal)


@pytest.mark.service
async def test_migrate_waits_for_a_late_server() -> None:
    async with fresh_database() as url, open_proxy(url) as proxy:
        proxy.go_silent()
        settings = Settings(database_url=proxy.url(url))
        migrating = asyncio.create_task(migrate(settings, wait_s=30))
        while not proxy.accepted:
            await asyncio.sleep(0.05)
        await proxy.close_connections()
        proxy.resume()
        assert await migrating == Migrated(None, REVISION)


@pytest.mark.service
async def test_a_missing_permission_is_reported() -> None:
    async with fresh_database() as url:
        await execute(url, "REVOKE CREATE ON SCHEMA public FROM pg_database_owner")
        with pytest.raises(Misconfigured, match=r"permission denied.*GRANT"):
            await migrate(Settings(database_url=url), wait_s=0)


@pytest.mark.service
async def test_a_standby_is_unavailable() -> None:
    async with fresh_database() as url:
        name = urlsplit(url).path[1:]
        await execute(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with pytest.raises(ServerUnavailable, match=r"read-only transaction"):
            await migrate(Settings(database_url=url), wait_s=0)


async def test_a_file_that_is_not_a_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("notes of mine, and more of them " * 100)
    refusal = await refusal_of(Settings(data_dir=tmp_path))
    assert isinstance(refusal, Misconfigured)
    assert f"{tmp_path / FILE} can't be used: file is not a database" in str(refusal)
    assert "KILLSTREAM_DATA_DIR" in str(refusal)


async def test_a_file_that_can_not_be_opened_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(Misconfigured, match=r"unable to open .*; let us read and write there"):
        await migrate(Settings(data_dir=tmp_path))


async def test_a_data_directory_that_can_not_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        Misconfigured, match=r"can't create KILLSTREAM_DATA_DIR .*file/data: Not a dir"
    ):
        await migrate(Settings(data_dir=tmp_path / "file" / "data"))


@pytest.mark.parametrize(
    ("pragma", "kind", "said"),
    [
        ("max_page_count = 1", ServerUnavailable, "database or disk is full"),
        ("query_only = ON", Misconfigured, "let us read and write there"),
    ],
)
async def test_a_full_or_read_only_file_is_reported(
    tmp_path: Path, pragma: str, kind: type[KillstreamError], said: str
) -> None:
    settings = Settings(data_dir=tmp_path)
    await migrate(settings)
    async with open_database(settings) as engine:

        async def grow() -> None:
            async with engine.begin() as connection:
                await connection.exec_driver_sql(f"PRAGMA {pragma}")
                for n in range(100):
                    await connection.exec_driver_sql(f"CREATE TABLE t{n} (c)")

        with pytest.raises(kind, match=said):
            await when_database_available(engine, grow, wait_s=0)
