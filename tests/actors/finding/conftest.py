"""What tests of the finder share."""

import random

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.actors.finding.generated import COUNT, FIRST_ID, Store


@pytest.fixture
async def stored(database: AsyncEngine) -> Store:
    made = Store(database)
    await made.add(1, range(FIRST_ID, FIRST_ID + COUNT), 1_700_000_000.0)
    corrected = random.Random(2).sample(range(FIRST_ID, FIRST_ID + COUNT), 200)
    await made.add(3, corrected, 1_700_000_100.0)
    return made
