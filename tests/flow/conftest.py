from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.shared.settings import Settings
from tests.support.servers import empty_servers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.service)
            item.add_marker(pytest.mark.flow)
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture
async def servers() -> AsyncIterator[Settings]:
    """Empty servers and settings that name them."""
    async with empty_servers() as settings:
        yield settings
