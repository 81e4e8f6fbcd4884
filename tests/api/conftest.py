"""Fixtures: a gateway on an SQLite file, its writer, a client."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from actors.shared.database import open_database
from actors.shared.events import open_events
from actors.shared.settings import Settings
from tests.api.gateway import Writer, make_tables, serve


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, names_deadline_ms=200)


@pytest.fixture
async def writer(settings: Settings) -> AsyncIterator[Writer]:
    async with open_database(settings) as database, open_events(settings) as events:
        await make_tables(database)
        yield Writer(database, events)


@pytest.fixture
async def client(settings: Settings, writer: Writer) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a running gateway."""
    async with serve(settings) as address, aiohttp.ClientSession(address) as session:
        yield session
