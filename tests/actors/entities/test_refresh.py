"""Entities of live killmails are refreshed as ESI allows, on both databases."""

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.broker import broker
from actors.entities.alliances import refresh_alliance
from actors.entities.characters import DOOMHEIM, refresh_characters
from actors.entities.corporations import refresh_corporation
from actors.entities.follow import follow_feed, ids_of
from actors.entities.kinds import ALLIANCE, CHARACTER, CORPORATION, KINDS, TYPE
from actors.entities.refresh import due
from actors.entities.schedule import schedule_refreshes
from actors.entities.types import refresh_type
from actors.entities.want import want
from actors.killmails.append import append_imported_day
from actors.killmails.persist import read, store
from actors.resources import Resources
from actors.shared.queues import Queue
from actors.shared.reference import encode_reference
from actors.shared.settings import Settings
from actors.shared.tables import (
    AFFILIATIONS,
    ALLIANCE_CORPORATIONS,
    ALLIANCE_SNAPSHOTS,
    ALLIANCES,
    ATTACKERS,
    CHARACTERS,
    CORPORATION_SNAPSHOTS,
    CORPORATIONS,
    KILLMAILS,
    SNAPSHOT_DAYS,
)
from actors.snapshots.take import take_snapshots
from deploy.standin.server import Standin
from tests.support.esi import opened_resources, run, sent, set_faults, standin
from tests.support.made import a_body, a_reference, an_attacker
from tests.support.tables import rows, statements

QUEUES = (Queue.ALLIANCES, Queue.CORPORATIONS, Queue.CHARACTERS, Queue.TYPES)


@pytest.fixture(autouse=True)
def _empty_queues() -> Iterator[None]:
    yield
    for queue in QUEUES:
        sent(queue)


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(20) as started:
        yield started


@pytest.fixture
def settings(upstream: Standin, database_settings: dict[str, Any], tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path, esi_url=upstream.url, esi_killmail_tokens=0, **database_settings
    )


@pytest.fixture
async def opened(settings: Settings) -> AsyncIterator[Resources]:
    async with opened_resources(settings) as resources:
        yield resources


async def save(opened: Resources, upstream: Standin, source: str = "r2z2:test") -> None:
    values = [
        encode_reference(a_reference(played.body, position=n, source=source))
        for n, played in enumerate(upstream.dataset.killmails)
    ]
    arrivals, _ = read(values)
    await store(opened.database, arrivals)


async def work() -> Counter[str]:
    """Run what was sent until nothing is; count the messages by actor."""
    done: Counter[str] = Counter()
    while messages := [message for queue in QUEUES for message in sent(queue)]:
        for message in messages:
            await inspect.unwrap(broker.get_actor(message.actor_name).fn)(*message.args)
            done[message.actor_name] += 1
    return done


async def refresh_all() -> Counter[str]:
    """Schedule and work until nothing is due."""
    done: Counter[str] = Counter()
    await run(follow_feed)
    while True:
        await run(schedule_refreshes)
        some = await work()
        if not some:
            return done
        done += some


def requests(upstream: Standin, endpoint: str) -> Counter[int]:
    found: Counter[int] = Counter()
    for (kind, name, status), count in upstream.playback.stats.requests.items():
        if (kind, name) == ("esi", endpoint):
            found[status] += count
    return found


async def by_id(opened: Resources, table: Any) -> dict[int, dict[str, Any]]:
    key = next(iter(table.primary_key)).name
    return {row[key]: row for row in await rows(opened.database, table)}


async def expire(opened: Resources, kind: Any, **changes: Any) -> None:
    """Let ESI be asked again."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    async with opened.database.begin() as connection:
        values = {"expires_at": past, "next_refresh_at": past} | changes
        await connection.execute(update(kind.table).values(**values))


async def refused_before(opened: Resources, kind: Any) -> None:
    """Let ESI's first refusals be an hour old."""
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    was_refused = kind.table.c.refused_at.is_not(None)
    async with opened.database.begin() as connection:
        await connection.execute(update(kind.table).where(was_refused).values(refused_at=hour_ago))
    await expire(opened, kind)


async def test_live_killmails_have_all_their_entities_refreshed(
    opened: Resources, upstream: Standin
) -> None:
    await save(opened, upstream)
    await refresh_all()
    participants = upstream.playback
    for kind in KINDS.values():
        found = await by_id(opened, kind.table)
        assert found
        assert {row["next_refresh_at"] for row in found.values()} == {None}
        assert {row["state"] for row in found.values()} <= {"active", "absent", "closed"}
    corporations = await by_id(opened, CORPORATIONS)
    alliances = await by_id(opened, ALLIANCES)
    members = await rows(opened.database, ALLIANCE_CORPORATIONS)
    assert {row["alliance_id"] for row in members} == {
        id_ for id_, row in alliances.items() if row["state"] == "active"
    }
    for row in members:
        corporation = corporations[row["corporation_id"]]
        assert corporation["alliance_id"] == row["alliance_id"]
        assert corporation["name"]
        assert corporation["ticker"]
    assert len(await rows(opened.database, AFFILIATIONS)) == len(await by_id(opened, CHARACTERS))
    days = {day["day"] for day in await rows(opened.database, SNAPSHOT_DAYS)}
    assert days == {
        datetime.fromtimestamp(played.killed_at_s, UTC).date()
        for played in participants.dataset.killmails
    }
    # Nothing is asked twice while ESI's answer holds.
    before = dict(upstream.playback.stats.requests)
    await expire(opened, CORPORATION, expires_at=datetime.now(UTC) + timedelta(hours=1))
    await refresh_all()
    assert upstream.playback.stats.requests == before


async def test_members_of_the_day_become_snapshots(opened: Resources, upstream: Standin) -> None:
    await save(opened, upstream)
    await refresh_all()
    await run(take_snapshots)
    today = datetime.now(UTC).date()
    corporations = await by_id(opened, CORPORATIONS)
    snapshots = {
        row["corporation_id"]: row["members"]
        for row in await rows(opened.database, CORPORATION_SNAPSHOTS)
        if row["day"] == today
    }
    known = {id_: row["member_count"] for id_, row in corporations.items() if row["updated_at"]}
    assert {id_: snapshots.get(id_) for id_ in known} == known
    of_alliance: Counter[int] = Counter()
    for row in await rows(opened.database, ALLIANCE_CORPORATIONS):
        of_alliance[row["alliance_id"]] += corporations[row["corporation_id"]]["member_count"]
    assert of_alliance
    assert {
        row["alliance_id"]: row["members"]
        for row in await rows(opened.database, ALLIANCE_SNAPSHOTS)
        if row["day"] == today and row["corporations"]
    } == of_alliance


async def test_an_unreadable_killmail_mentions_nobody(sqlite: AsyncEngine) -> None:
    attacker = an_attacker(character_id=7, weapon_type_id=8)
    bodies = [a_body(1), a_body(2, attackers=[attacker])]
    await store(sqlite, read([encode_reference(a_reference(body)) for body in bodies])[0])
    async with sqlite.begin() as connection:
        await connection.execute(ATTACKERS.delete())  # the bodies are the truth
        of_first = KILLMAILS.c.killmail_id == 1
        await connection.execute(update(KILLMAILS).where(of_first).values(body=b"?"))
        ids = await ids_of(connection, [2, 1, 2])
    assert ids == {CHARACTER: {7, 90_000_001}, CORPORATION: set(), ALLIANCE: set(), TYPE: {8, 587}}


async def test_imported_killmails_have_days_and_no_refreshes(
    opened: Resources, upstream: Standin
) -> None:
    await save(opened, upstream, source="zkillboard:character/1")
    async with opened.database.begin() as connection:
        await append_imported_day(connection, date(2015, 3, 1), "everef", added=1, total=1)
    await run(follow_feed)
    days = {row["day"] for row in await rows(opened.database, SNAPSHOT_DAYS)}
    assert days > {date(2015, 3, 1)}
    assert await rows(opened.database, CHARACTERS) == []


async def test_not_more_than_the_bound_per_hour_are_sent(
    settings: Settings, upstream: Standin
) -> None:
    async with opened_resources(settings.model_copy(update={"esi_refreshes_per_hour": 3})) as few:
        await save(few, upstream)
        await refresh_all()
        for kind in KINDS.values():
            asked = [row for row in await rows(few.database, kind.table) if row["requested_at"]]
            assert len(asked) == 3
        async with few.database.begin() as connection:  # an hour later
            hour_ago = datetime.now(UTC) - timedelta(hours=1, seconds=1)
            await connection.execute(
                update(CORPORATIONS)
                .where(CORPORATIONS.c.requested_at.is_not(None))
                .values(requested_at=hour_ago)
            )
        done = await refresh_all()
        assert done["refresh_corporation"] == 3


async def test_changes_of_corporation_are_recorded_and_deleted_characters_end(
    opened: Resources, upstream: Standin
) -> None:
    characters = [one.character_id for one in upstream.playback.characters.all(10_000)][:5]
    stayed, moved, doomed, missing, _ = characters
    async with opened.database.begin() as connection:
        await want(connection, CHARACTER, characters)
    await run(refresh_characters, characters)
    first = await by_id(opened, CHARACTERS)
    goal = next(
        row["corporation_id"]
        for row in first.values()
        if row["corporation_id"] != first[moved]["corporation_id"]
    )
    set_faults(upstream, esi_moved={moved: goal}, esi_deleted={doomed: "doomheim", missing: "404"})
    await expire(opened, CHARACTER)
    await run(refresh_characters, characters)
    assert (await by_id(opened, CHARACTERS))[missing]["state"] == "active"  # refused once
    await refused_before(opened, CHARACTER)
    await run(refresh_characters, characters)
    now = await by_id(opened, CHARACTERS)
    assert {id_: now[id_]["state"] for id_ in characters[:4]} == {
        stayed: "active",
        moved: "active",
        doomed: "deleted",
        missing: "deleted",
    }
    assert now[missing]["corporation_id"] == first[missing]["corporation_id"]
    history: dict[int, list[int]] = {}
    for row in await rows(opened.database, AFFILIATIONS):
        history.setdefault(row["character_id"], []).append(row["corporation_id"])
    assert history[stayed] == [first[stayed]["corporation_id"]]
    assert history[moved] == [first[moved]["corporation_id"], goal]
    assert history[doomed] == [first[doomed]["corporation_id"], DOOMHEIM]
    set_faults(upstream)
    await expire(opened, CHARACTER)
    await run(refresh_characters, characters)
    back = await by_id(opened, CHARACTERS)
    assert back[missing]["state"] == "active"  # ESI was wrong


async def test_unmodified_corporation_is_of_today_and_a_closed_one_leaves(
    opened: Resources, upstream: Standin
) -> None:
    await save(opened, upstream)
    await refresh_all()
    row = next(one for one in await rows(opened.database, CORPORATIONS) if one["alliance_id"])
    corporation_id = row["corporation_id"]
    async with opened.database.begin() as connection:
        await connection.execute(CORPORATION_SNAPSHOTS.delete())
    await expire(opened, CORPORATION)
    await run(refresh_corporation, corporation_id)
    assert requests(upstream, "corporation")[304] == 1
    (snapshot,) = await rows(opened.database, CORPORATION_SNAPSHOTS)
    assert snapshot["members"] == row["member_count"]
    set_faults(upstream, esi_closed=(corporation_id,))
    await expire(opened, CORPORATION)
    await run(refresh_corporation, corporation_id)
    closed = (await by_id(opened, CORPORATIONS))[corporation_id]
    assert (closed["state"], closed["alliance_id"], closed["member_count"]) == ("closed", None, 0)


async def test_what_esi_refuses_twice_is_absent(opened: Resources) -> None:
    unknown = 499_999_999
    async with opened.database.begin() as connection:
        await want(connection, CORPORATION, [unknown])
        await want(connection, TYPE, [unknown, 0, -1])
    for state in ("unknown", "absent"):
        await run(refresh_corporation, unknown)
        await run(refresh_type, unknown)
        for kind in (CORPORATION, TYPE):
            assert [row["state"] for row in await rows(opened.database, kind.table)] == [state]
            await refused_before(opened, kind)


async def test_refusal_holds_only_when_a_later_one_confirms_it(
    opened: Resources, upstream: Standin
) -> None:
    await save(opened, upstream)
    await refresh_all()
    id_ = next(iter(await by_id(opened, ALLIANCES)))
    before = (await by_id(opened, ALLIANCES))[id_]

    async def refresh() -> dict[str, Any]:
        await run(refresh_alliance, id_)
        return (await by_id(opened, ALLIANCES))[id_]

    def due_in(row: dict[str, Any]) -> timedelta:
        due_at: datetime = row["next_refresh_at"]
        return due_at - datetime.now(UTC)

    set_faults(upstream, unknown_ids=(id_,))
    await expire(opened, ALLIANCE)
    first = await refresh()
    assert (first["state"], first["expires_at"] < datetime.now(UTC)) == ("active", True)
    assert timedelta(minutes=59) < due_in(first) < timedelta(minutes=80)
    await expire(opened, ALLIANCE)  # an operator's command has it asked again at once
    second = await refresh()
    assert (second["state"], second["refused_at"]) == ("active", first["refused_at"])
    assert timedelta(minutes=59) < due_in(second)

    set_faults(upstream)  # ESI was overloaded
    await expire(opened, ALLIANCE)
    answered = await refresh()
    assert (answered["state"], answered["refused_at"]) == ("active", None)
    assert answered["next_refresh_at"] is None

    set_faults(upstream, unknown_ids=(id_,))
    await expire(opened, ALLIANCE)
    assert (await refresh())["state"] == "active"
    await refused_before(opened, ALLIANCE)
    gone = await refresh()
    assert (gone["state"], gone["name"]) == ("absent", before["name"])
    assert (gone["next_refresh_at"], gone["expires_at"] > datetime.now(UTC)) == (None, True)
    await expire(opened, ALLIANCE)
    assert (await refresh())["next_refresh_at"] is None  # confirmed already


async def test_reading_what_is_due_waits_for_no_writer(opened: Resources) -> None:
    async with opened.database.begin() as connection:
        await want(connection, CORPORATION, [98_000_001])
    async with opened.database.begin() as writing:
        await want(writing, CORPORATION, [98_000_002])
        async with asyncio.timeout(5):
            found = await due(CORPORATION, [98_000_001])
    assert [row.corporation_id for row in found] == [98_000_001]


async def test_alliance_is_written_once(opened: Resources, upstream: Standin) -> None:
    await save(opened, upstream)
    await refresh_all()
    id_ = next(id_ for id_, one in (await by_id(opened, ALLIANCES)).items() if one["name"])
    await expire(opened, ALLIANCE)
    with statements(opened.database) as said:
        await run(refresh_alliance, id_)
    assert len([one for one in said if one.startswith("UPDATE alliances")]) == 1


async def test_outage_of_esi_leaves_it_due(opened: Resources, upstream: Standin) -> None:
    characters = [one.character_id for one in upstream.playback.characters.all(10_000)][:2]
    async with opened.database.begin() as connection:
        await want(connection, CHARACTER, characters)
        await want(connection, CORPORATION, [98_000_001])
    set_faults(upstream, tranquility_down=True)
    await run(refresh_characters, characters)
    await run(refresh_corporation, 98_000_001)
    now = datetime.now(UTC)
    for table in (CHARACTERS, CORPORATIONS):
        for row in await rows(opened.database, table):
            assert now < row["next_refresh_at"] < now + timedelta(minutes=10)
            assert row["state"] == "unknown"
    async with opened.database.connect() as connection:
        assert await connection.scalar(select(CORPORATIONS.c.updated_at)) is None
