import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.streams.rig import Log


@pytest.fixture
def log(sqlite: AsyncEngine) -> Log:
    return Log(sqlite)
