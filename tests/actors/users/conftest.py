from collections.abc import AsyncIterator

import aiohttp
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.settings import Settings
from actors.users.sso import Sso
from actors.users.tokens import Keeper
from actors.users.vault import open_vault
from deploy.standin.server import Standin
from tests.support.esi import standin
from tests.support.login import login_settings


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(50) as started:
        yield started


@pytest.fixture
async def keeper(upstream: Standin, database: AsyncEngine) -> AsyncIterator[Keeper]:
    settings = Settings(**login_settings(upstream))
    async with aiohttp.ClientSession() as http:
        yield Keeper(database, open_vault(settings), Sso(settings, http))
