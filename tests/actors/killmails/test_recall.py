"""Recall of what no poller sends: each overdue entry goes to the actors, with a next time."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from actors.killmails.recall import recall
from actors.resources import Resources
from actors.shared.reference import Reference, decode_reference, encode_reference
from actors.shared.rejection import REJECTED_SOURCE, decode_rejection
from actors.shared.settings import Settings
from actors.shared.tables import LEDGER
from tests.support.esi import opened_resources, run, sent
from tests.support.made import a_body, a_reference
from tests.support.tables import rows

POLLED = "r2z2:polled"


@pytest.fixture(autouse=True)
def _empty_queues() -> Iterator[None]:
    yield
    for queue in ("database", "esi"):
        sent(queue)


@pytest.fixture
async def opened(database_settings: dict[str, Any], tmp_path: Path) -> AsyncIterator[Resources]:
    settings = Settings(data_dir=tmp_path, contact="test@example.org", **database_settings)
    async with opened_resources(settings) as resources:
        yield resources


async def enter(opened: Resources, entered: Reference, overdue: timedelta, **changes: Any) -> None:
    """Write a ledger entry that is overdue for so long."""
    now = datetime.now(UTC)
    row = {
        "source": entered.source,
        "position": entered.position,
        "reference": encode_reference(entered),
        "kind": "received",
        "killmail_id": entered.killmail_id,
        "killmail_hash": entered.hash,
        "received_at": now,
        "next_try_at": now - overdue,
    }
    async with opened.database.begin() as connection:
        await connection.execute(insert(LEDGER).values(row | changes))


def handed_on() -> dict[str, list[int]]:
    """Take the positions that were sent to each actor."""
    taken: dict[str, list[int]] = {}
    for message in [*sent("database"), *sent("esi")]:
        for value in message.args[0]:
            taken.setdefault(message.actor_name, []).append(decode_reference(value).position)
    return {name: sorted(positions) for name, positions in taken.items()}


async def test_sends_what_is_overdue_and_nobodys_else(opened: Resources) -> None:
    whole = a_reference(a_body(1), 1, source=REJECTED_SOURCE)
    bare = msgspec.structs.replace(whole, position=2, body=msgspec.Raw())
    await enter(opened, whole, timedelta(seconds=1))
    await enter(opened, bare, timedelta(seconds=1))
    await enter(opened, msgspec.structs.replace(whole, position=3), -timedelta(minutes=1))
    changed = msgspec.structs.replace(bare, source="redisq:gone/q")
    await enter(opened, msgspec.structs.replace(changed, position=4), timedelta(minutes=6))
    await enter(opened, msgspec.structs.replace(changed, position=5), timedelta(minutes=1))
    await run(recall)
    assert handed_on() == {"persist": [1], "fetch": [2, 4]}
    due = {row["position"]: row for row in await rows(opened.database, LEDGER)}
    for position in (1, 2, 4):
        assert due[position]["tries"] == 1
        waits = due[position]["next_try_at"] - datetime.now(UTC)
        assert timedelta(minutes=14) < waits <= timedelta(minutes=15)
    await run(recall)
    assert handed_on() == {}


async def test_what_only_a_gone_upstream_holds_is_asked_of_esi(opened: Resources) -> None:
    reference = a_reference(a_body(7), 9, source=POLLED)
    await enter(opened, reference, timedelta(hours=23), reference=None)
    await run(recall)
    assert handed_on() == {}
    await enter(
        opened, msgspec.structs.replace(reference, position=10), timedelta(hours=25), reference=None
    )
    await run(recall)
    (message,) = sent("esi")
    asked = decode_reference(message.args[0][0])
    assert (asked.position, asked.killmail_id, asked.hash) == (10, 7, reference.hash)
    assert asked.as_of == 0.0  # a version with the upstream's own time replaces it


async def test_what_is_no_reference_is_rejected_with_its_place(opened: Resources) -> None:
    reference = a_reference(a_body(7), 9, source=REJECTED_SOURCE)
    await enter(opened, reference, timedelta(minutes=1), reference=b"{}")
    await run(recall)
    (message,) = sent("database")
    assert message.actor_name == "reject"
    rejection = decode_rejection(message.args[0][0])
    assert (rejection.source, rejection.position) == (REJECTED_SOURCE, 9)
