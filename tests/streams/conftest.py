import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.streams.rig import Log


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def database(request: pytest.FixtureRequest) -> AsyncEngine:
    """Each database in turn, empty."""
    engine: AsyncEngine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
def log(sqlite: AsyncEngine) -> Log:
    return Log(sqlite)
