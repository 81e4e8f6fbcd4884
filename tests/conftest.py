"""What all tests share: both databases, and a closing line that says what was played."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import open_database
from actors.shared.settings import Settings
from actors.shared.tables import FEED_COUNTER
from deploy.migrate import migrate
from tests.support.killmails import describe
from tests.support.servers import migrated_database


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which killmails were played."""
    terminalreporter.write_line(describe())


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the newest schema, to be copied."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("migrated"))
    with ThreadPoolExecutor(1) as thread:  # asyncio.run would take the tests' event loop away
        thread.submit(asyncio.run, migrate(settings)).result()
    return settings.data_dir / "killstream.db"


@pytest.fixture
async def sqlite(migrated_file: Path, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """An empty SQLite file."""
    settings = Settings(data_dir=tmp_path)
    shutil.copy(migrated_file, tmp_path)
    async with open_database(settings) as engine:
        async with engine.begin() as connection:
            await connection.execute(FEED_COUNTER.update().values(feed_id=uuid4().hex))
        yield engine


@pytest.fixture
async def postgresql() -> AsyncIterator[AsyncEngine]:
    """An empty database on the tests' PostgreSQL."""
    async with migrated_database() as url:
        settings = Settings(database_url=url, database_pool_size=10)
        async with open_database(settings) as engine:
            yield engine


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def database(request: pytest.FixtureRequest) -> AsyncEngine:
    """Each database in turn, empty."""
    engine: AsyncEngine = request.getfixturevalue(request.param)
    return engine
