"""Versions: the latest body and the latest zkb block stay, in whatever order they come."""

import random
from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.append import Unpublished
from actors.killmails.persist import read, store
from actors.shared.body import unpack, unpack_zkb
from actors.shared.feed import Entry
from actors.shared.reference import NO_JSON, Reference, encode_reference
from actors.shared.tables import ATTACKERS, FEED, KILLMAILS
from tests.support.made import a_body, a_reference, an_attacker
from tests.support.tables import rows

ORDERS = 60


async def persisted(database: AsyncEngine, *batch: Reference) -> list[Unpublished[Entry]]:
    return await store(database, *read(encode_reference(reference) for reference in batch))


def a_version(killmail_id: int, as_of: float, war_id: int, zkb: bytes = b"") -> Reference:
    body = a_body(killmail_id, war_id=war_id, attackers=[an_attacker(damage_done=war_id)])
    block = msgspec.Raw(zkb) if zkb else NO_JSON
    return a_reference(body, as_of=as_of, zkb=block)


@pytest.mark.parametrize(
    ("versions", "wanted"),
    [
        (
            [
                (0.0, 1, b'{"points":1}'),  # of unknown time
                (10.0, 2, b""),
                (20.0, 3, b'{"points":3}'),
                (30.0, 3, b'{ "points": 3 }'),  # says the same
                (25.0, 4, b'{"points":4}'),
            ],
            (3, 3, 30.0, 30.0),
        ),
        (
            [(30.0, 3, b""), (10.0, 1, b'{"points":1}'), (20.0, 2, b'{"points":2}')],
            (3, 2, 30.0, 20.0),
        ),
        ([(5.0, 1, b""), (0.0, 2, b'{"points":2}')], (1, 2, 5.0, 0.0)),
        ([(5.0, 1, b""), (6.0, 1, b"")], (1, None, 6.0, None)),
    ],
)
async def test_the_order_of_arrival_changes_nothing(
    sqlite: AsyncEngine,
    versions: list[tuple[float, int, bytes]],
    wanted: tuple[int, int | None, float, float | None],
) -> None:
    order = random.Random(len(versions))
    for killmail_id in range(ORDERS):
        coming = [a_version(killmail_id, *version) for version in order.choices(versions, k=3)]
        coming += [a_version(killmail_id, *version) for version in versions]
        order.shuffle(coming)
        while coming:
            size = order.randint(1, 4)
            await persisted(sqlite, *coming[:size])
            coming = coming[size:]
    states = {state_of(row) for row in await rows(sqlite, KILLMAILS)}
    assert states == {wanted}
    attackers = await rows(sqlite, ATTACKERS)
    assert {row["damage_done"] for row in attackers} == {wanted[0]}
    assert len(attackers) == ORDERS


def state_of(row: dict[str, Any]) -> tuple[int, int | None, float, float | None]:
    assert msgspec.json.decode(unpack(row["body"]))["war_id"] == row["war_id"]
    return (
        row["war_id"],
        msgspec.json.decode(unpack_zkb(row["zkb"]))["points"] if row["zkb"] else None,
        row["body_as_of"].timestamp(),
        row["zkb_as_of"].timestamp() if row["zkb_as_of"] else None,
    )


async def test_a_middle_version_that_comes_late_does_not_win(database: AsyncEngine) -> None:
    await persisted(database, a_version(1, 10.0, 1, b'{"points":1}'))
    assert await persisted(database, a_version(1, 30.0, 1, b'{"points":1}')) == []
    assert await persisted(database, a_version(1, 20.0, 2, b'{"points":2}')) == []
    (row,) = await rows(database, KILLMAILS)
    assert state_of(row) == (1, 1, 30.0, 30.0)
    assert len(await rows(database, FEED)) == 1


async def test_a_first_zkb_is_taken_though_it_is_older(database: AsyncEngine) -> None:
    await persisted(database, a_version(1, 30.0, 3))
    (stored,) = await persisted(database, a_version(1, 10.0, 1, b'{"points":1}'))
    assert (stored.entry.kind, bytes(stored.entry.zkb)) == ("updated", b'{"points":1}')
    assert msgspec.json.decode(stored.entry.killmail)["war_id"] == 3
    assert stored.killmail
    assert stored.killmail.war_id == 3
    (row,) = await rows(database, KILLMAILS)
    assert state_of(row) == (3, 1, 30.0, 10.0)


async def test_a_body_written_otherwise_is_stored_and_no_entry(database: AsyncEngine) -> None:
    body = a_body(1)
    await persisted(database, a_reference(body, as_of=1.0))
    spaced = msgspec.json.format(body, indent=2)
    assert await persisted(database, a_reference(spaced, as_of=2.0)) == []
    (row,) = await rows(database, KILLMAILS)
    assert unpack(row["body"]) == spaced
