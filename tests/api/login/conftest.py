"""A gateway whose users log in at a stand-in's SSO."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import open_database
from actors.shared.events import open_events
from actors.shared.settings import Settings
from deploy.ports import free_port
from deploy.standin.server import Standin, StandinOptions, start_standin
from deploy.standin.sso.applications import Application
from tests.api.gateway import Writer, make_tables, serve
from tests.api.login.browser import Browser, Gateway
from tests.support.servers import fresh_database


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def standin(port: int) -> AsyncIterator[Standin]:
    callback = f"http://127.0.0.1:{port}/auth/callback"
    application = Application(client_id="killstream-test", secret="hush", callbacks=(callback,))
    options = StandinOptions(synthetic=40, limits=False, applications=(application,))
    started = await start_standin(options)
    yield started
    await started.stop()


@pytest.fixture
async def database_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """An SQLite file, unless a test asks for PostgreSQL."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield ""
    else:
        async with fresh_database() as url:
            yield url


@pytest.fixture
def settings(tmp_path: Path, standin: Standin, port: int, database_url: str) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database_url=database_url,
        sso_url=standin.url,
        eve_client_id="killstream-test",
        eve_client_secret=SecretStr("hush"),
        eve_callback_url=f"http://127.0.0.1:{port}/auth/callback",
        operators=f"1, {standin.playback.characters.all(4)[3].character_id} ,2",
        token_keys=SecretStr(Fernet.generate_key().decode()),
    )


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[AsyncEngine]:
    async with open_database(settings) as engine:
        await make_tables(engine)
        yield engine


@pytest.fixture
async def writer(settings: Settings, database: AsyncEngine) -> AsyncIterator[Writer]:
    async with open_events(settings) as events:
        yield Writer(database, events)


@pytest.fixture
async def gateway(
    settings: Settings, database: AsyncEngine, standin: Standin, port: int
) -> AsyncIterator[Gateway]:
    async with serve(settings, port) as address:
        yield Gateway(address, settings, standin, database)


@pytest.fixture
async def browser(gateway: Gateway) -> AsyncIterator[Browser]:
    async with Browser(gateway) as opened:
        yield opened
