"""What all tests share: both databases, and a closing line that says what was played."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

import actors.worker  # noqa: F401  # declares all actors, before a test replaces the broker
from actors.shared.database import open_database
from actors.shared.settings import Settings
from deploy.migrate import migrate
from tests.support import servers
from tests.support.killmails import describe
from tests.support.servers import fresh_database, migrated_database

# A command that a test runs in this process has an output of its own, without this process's log.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Allow the servers to tests that are marked."""
    servers.allowed = item.get_closest_marker("service") is not None


def pytest_sessionfinish() -> None:
    """Drop the databases that tests had copies of."""
    servers.allowed = True
    asyncio.run(servers.drop_templates())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which killmails were played."""
    terminalreporter.write_line(describe())


@pytest.fixture
async def sqlite(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AsyncEngine]:
    """An empty SQLite file: a copy of one that was migrated once."""
    template = tmp_path_factory.getbasetemp() / "template"
    if not template.exists():
        await migrate(Settings(data_dir=template))
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    settings = Settings(data_dir=tmp_path)
    async with open_database(settings) as engine:
        yield engine


@pytest.fixture
async def postgresql() -> AsyncIterator[AsyncEngine]:
    """An empty database on the tests' PostgreSQL."""
    async with migrated_database() as url:
        settings = Settings(database_url=url, database_pool_size=10)
        async with open_database(settings) as engine:
            yield engine


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
async def database_settings(request: pytest.FixtureRequest) -> AsyncIterator[dict[str, Any]]:
    """What settings name each database in turn, empty and not migrated."""
    if request.param == "sqlite":
        yield {}
        return
    async with fresh_database() as url:
        yield {"database_url": url, "database_pool_size": 10}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def database(request: pytest.FixtureRequest) -> AsyncEngine:
    """Each database in turn, empty."""
    engine: AsyncEngine = request.getfixturevalue(request.param)
    return engine
