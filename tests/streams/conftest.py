from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import open_database
from actors.shared.settings import Settings
from deploy.migrate import migrate
from tests.streams.rig import Log
from tests.support.servers import fresh_database


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    settings = Settings(data_dir=tmp_path)
    await migrate(settings)
    async with open_database(settings) as engine:
        yield engine


@pytest.fixture
async def postgresql() -> AsyncIterator[AsyncEngine]:
    async with fresh_database() as url:
        settings = Settings(database_url=url)
        await migrate(settings)
        async with open_database(settings) as engine:
            yield engine


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
async def database(request: pytest.FixtureRequest) -> AsyncEngine:
    """Each database in turn, empty."""
    engine: AsyncEngine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
def log(sqlite: AsyncEngine) -> Log:
    return Log(sqlite)
