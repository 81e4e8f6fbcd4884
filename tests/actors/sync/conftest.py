from collections.abc import AsyncIterator, Iterator

import pytest

from actors.resources import Resources
from deploy.standin.server import Standin
from tests.actors.sync.rig import PAGE
from tests.support.esi import sent, standin
from tests.support.login import characters, log_in


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
async def busy(opened: Resources, upstream: Standin) -> int:
    """A character that is logged in and has killmails on three pages at least."""
    character_id = characters(upstream)[0]
    await log_in(opened.keeper, character_id)
    return character_id
