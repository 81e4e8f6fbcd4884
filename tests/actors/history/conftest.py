"""An upstream with history, and an import in small steps."""

from collections.abc import AsyncIterator, Iterator

import pytest

from actors.history import day as module
from actors.history import r2z2
from deploy.standin.server import Standin
from tests.actors.history.days import COUNT
from tests.support.esi import sent, standin


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(COUNT, rate_per_s=0.001, released_before_s=COUNT * 1001) as started:
        yield started


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "BATCH", 40)
    monkeypatch.setattr(module, "SQLITE_BATCH", (40, 40, 40))
    monkeypatch.setattr(module, "DOWNLOAD_POLL_S", 0.01)
    monkeypatch.setattr(r2z2, "SPACING_S", 0.0)
    yield
    for queue in ("database", "history", "esi"):
        sent(queue)
