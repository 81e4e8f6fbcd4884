from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actors.esi import client
from actors.resources import Resources
from actors.shared.settings import Settings
from deploy.standin.server import Standin
from tests.support.esi import opened_resources
from tests.support.login import with_logins


@pytest.fixture(autouse=True)
def _hasty_esi(monkeypatch: pytest.MonkeyPatch) -> None:
    """ESI's client doesn't wait long before it asks again."""
    monkeypatch.setattr(client, "BACKOFF_S", (0.01, 0.02, 0.04))


@pytest.fixture
async def opened(
    upstream: Standin, database_settings: dict[str, Any], tmp_path: Path
) -> AsyncIterator[Resources]:
    """What actors stand on, on each database in turn, with a stand-in at which users log in."""
    settings = with_logins(Settings(data_dir=tmp_path, **database_settings), upstream)
    async with opened_resources(settings) as resources:
        yield resources
