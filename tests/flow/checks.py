"""What must be equal everywhere after a run."""

from collections import Counter

import msgspec
from aiokafka import TopicPartition
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.body import unpack
from actors.shared.dictionaries import read_bodies
from actors.shared.feed import Entry
from actors.shared.settings import Settings
from actors.shared.tables import FEED, KILLMAILS, LEDGER
from actors.shared.topics import STORED
from tests.support.feed import decode_killmail
from tests.support.topics import read_to_end


async def assert_stored(database: AsyncEngine, bodies: dict[int, bytes]) -> None:
    """The database holds exactly these killmails, their bodies, and a feed without gaps."""
    async with database.connect() as connection:
        query = select(KILLMAILS.c.killmail_id, KILLMAILS.c.body)
        rows = await read_bodies(connection, query)
        stored = {killmail_id: unpack(body) for killmail_id, body in rows}
        feed = (await connection.execute(select(FEED).order_by(FEED.c.sequence))).all()
        waiting = select(LEDGER).where(LEDGER.c.kind != "hole")  # its file may come for a day
        ledger = (await connection.execute(waiting)).all()
    assert stored.keys() == bodies.keys()
    assert all(stored[killmail_id] == body for killmail_id, body in bodies.items())
    assert [row.sequence for row in feed] == list(range(1, len(feed) + 1))
    added = Counter(row.killmail_id for row in feed if row.kind == "added")
    assert added == Counter(bodies.keys())
    assert not ledger


async def read_topic(settings: Settings) -> list[Entry]:
    """Read all of `killmails.stored`."""
    partitions = [TopicPartition(STORED.name, p) for p in range(STORED.partitions)]
    return [decode_killmail(record.value) for record in await read_to_end(settings, partitions)]


def assert_published(entries: list[Entry], bodies: dict[int, bytes], last_sequence: int) -> None:
    """What was published, folded by sequence, is the whole feed with the exact bodies."""
    folded = {entry.sequence: entry for entry in entries}
    assert sorted(folded) == list(range(1, last_sequence + 1))
    assert {entry.killmail_id for entry in folded.values()} == bodies.keys()
    assert all(
        msgspec.json.decode(entry.killmail) == msgspec.json.decode(bodies[entry.killmail_id])
        for entry in folded.values()
    )
