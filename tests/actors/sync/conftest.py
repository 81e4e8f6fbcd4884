from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.esi import client as esi_module
from actors.resources import Resources
from actors.shared.settings import Settings
from deploy.standin.server import Standin
from tests.actors.sync.rig import PAGE
from tests.support.esi import opened_resources, sent, standin
from tests.support.login import characters, log_in, with_logins


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(esi_module, "BACKOFF_S", (0.01, 0.02, 0.04))


@pytest.fixture(autouse=True)
def _empty_queues() -> Iterator[None]:
    yield
    for queue in ("database", "esi", "sync"):
        sent(queue)


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(300, recent_page_size=PAGE, recent_cache_s=0) as started:
        yield started


@pytest.fixture
async def opened(
    upstream: Standin, database_settings: dict[str, Any], tmp_path: Path
) -> AsyncIterator[Resources]:
    settings = with_logins(Settings(data_dir=tmp_path, **database_settings), upstream)
    async with opened_resources(settings) as resources:
        yield resources


@pytest.fixture
async def busy(opened: Resources, upstream: Standin) -> int:
    """A character that is logged in and has killmails on three pages at least."""
    character_id = characters(upstream)[0]
    await log_in(opened.keeper, character_id)
    return character_id
