"""The schedule starts each sync that is due once."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, update

from actors.resources import Resources
from actors.shared.tables import CORPORATION_SYNCS, USERS
from actors.sync.character import sync_character
from actors.sync.schedule import schedule_syncs
from deploy.standin.server import Standin
from tests.actors.sync.rig import references
from tests.support.esi import run, sent
from tests.support.login import characters, log_in
from tests.support.users import a_user


async def test_the_schedule_starts_what_is_due_once(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    await run(schedule_syncs)
    await run(schedule_syncs)
    (message,) = sent("sync")
    assert (message.actor_name, message.args[0]) == ("sync_character", busy)


async def test_the_schedule_starts_first_syncs_first(opened: Resources, upstream: Standin) -> None:
    old, new = characters(upstream)[:2]
    await log_in(opened.keeper, old)
    await run(sync_character, old)
    await log_in(opened.keeper, new)
    async with opened.database.begin() as connection:
        due = {"next_sync_at": datetime.now(UTC) - timedelta(hours=1)}
        await connection.execute(update(USERS).where(USERS.c.character_id == old).values(due))
    references()
    await run(schedule_syncs)
    assert [message.args[0] for message in sent("sync")] == [new, old]


async def test_one_director_synchronizes_a_corporation(opened: Resources) -> None:
    one, other, now = 90_000_001, 90_000_002, datetime.now(UTC)
    async with opened.database.begin() as connection:
        await connection.execute(
            insert(USERS), [a_user(id_, sync_corporation=True) for id_ in (one, other)]
        )
        row = {"corporation_id": 98_000_001, "state": "active", "created_at": now}
        await connection.execute(
            insert(CORPORATION_SYNCS),
            [row | {"character_id": id_, "next_sync_at": now} for id_ in (one, other)],
        )
    await run(schedule_syncs)
    await run(schedule_syncs)
    (message,) = sent("sync")
    assert message.args[0] == 98_000_001
    async with opened.database.begin() as connection:  # its budget is spent for a while
        postponed = update(CORPORATION_SYNCS).where(
            CORPORATION_SYNCS.c.character_id == message.args[1]
        )
        await connection.execute(
            postponed.values(next_sync_at=now + timedelta(minutes=5), last_killmail_sync_at=None)
        )
    await run(schedule_syncs)
    assert sent("sync") == []
    async with opened.database.begin() as connection:  # ESI refuses this director
        await connection.execute(
            postponed.values(next_sync_at=now + timedelta(minutes=5), state="refused")
        )
    await run(schedule_syncs)
    (message_2,) = sent("sync")
    assert {message.args[1], message_2.args[1]} == {one, other}
