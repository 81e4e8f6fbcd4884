"""History by days: whole, once, resumable, in several processes, and entered in the feed."""

import asyncio
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from sqlalchemy import false, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.history import day as module
from actors.history import r2z2, schedule
from actors.history.archive import Archived, Refused
from actors.history.day import import_leased
from actors.history.errors import Unreadable
from actors.history.everef import unpack
from actors.history.run import import_day, schedule_days
from actors.history.schedule import (
    EPOCH,
    LeaseLost,
    begin_download,
    lease_day,
    read_standing,
    request_days,
)
from actors.history.sources import SOURCES
from actors.killmails import bulk
from actors.killmails.check.run import check_all
from actors.killmails.fetch import fetch
from actors.killmails.persist import persist, read, store
from actors.killmails.recall import recall
from actors.resources import Resources
from actors.shared.body import unpack as unpack_body
from actors.shared.errors import RetryLater
from actors.shared.feed import HistorySource
from actors.shared.reference import encode_reference
from actors.shared.settings import Settings
from actors.shared.tables import (
    ATTACKERS,
    FEED,
    HISTORY_DAYS,
    IMPORTED_DAYS,
    KILLMAILS,
    LEDGER,
    REJECTED,
    UNPUBLISHED,
)
from deploy.standin.everef import pack
from deploy.standin.killmails import UpstreamKillmail
from deploy.standin.server import Standin
from tests.support.esi import run, sent, server_that_says, set_faults, standin
from tests.support.made import a_reference
from tests.support.tables import rows

COUNT = 300


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(COUNT, rate_per_s=0.001, released_before_s=COUNT * 1001) as started:
        yield started


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "BATCH", 40)
    monkeypatch.setattr(module, "SQLITE_BATCH", (40, 40, 40))
    monkeypatch.setattr(module, "DOWNLOAD_POLL_S", 0.01)
    monkeypatch.setattr(r2z2, "SPACING_S", 0.0)
    yield
    for queue in ("database", "history", "esi"):
        sent(queue)


def by_day(upstream: Standin) -> dict[date, list[UpstreamKillmail]]:
    days: dict[date, list[UpstreamKillmail]] = {}
    for one in upstream.dataset.killmails:
        days.setdefault(datetime.fromtimestamp(one.killed_at_s, UTC).date(), []).append(one)
    return days


async def requested(opened: Resources, source: HistorySource = "everef") -> dict[date, int]:
    totals = await SOURCES[source].totals(opened.settings, opened.http, opened.database)
    await request_days(opened.database, source, totals)
    return totals


async def import_all(opened: Resources) -> None:
    """Work as timer and actors do, until nothing is due."""
    await run(schedule_days)
    while messages := sent("history"):
        for message in messages:
            await run(import_day, *message.args)
        await run(schedule_days)


async def assert_whole(opened: Resources, upstream: Standin) -> None:
    """Check that all is stored, once, findable, and its days are in the feed."""
    played = list(upstream.dataset.killmails)
    stored = await rows(opened.database, KILLMAILS)
    assert {row["killmail_id"]: unpack_body(row["body"]) for row in stored} == {
        one.killmail_id: one.body for one in played
    }
    assert {row["killmail_id"]: row["killmail_hash"] for row in stored} == {
        one.killmail_id: one.killmail_hash for one in played
    }
    assert (await check_all(opened.database, mend=False)).differing.total() == 0
    attackers = sum(len(msgspec.json.decode(one.body)["attackers"]) for one in played)
    assert len(await rows(opened.database, ATTACKERS)) == attackers


@pytest.mark.parametrize("source", ["everef", "r2z2"])
async def test_each_day_is_stored_whole_and_entered_once(
    opened: Resources, upstream: Standin, source: HistorySource
) -> None:
    totals = await requested(opened, source)
    days = by_day(upstream)
    assert totals == {day: len(played) for day, played in days.items()}
    await import_all(opened)
    await assert_whole(opened, upstream)
    assert {
        (row["day"], row["source"], row["added"], row["total"])
        for row in await rows(opened.database, IMPORTED_DAYS)
    } == {(day, source, len(played), len(played)) for day, played in days.items()}
    feed = await rows(opened.database, FEED)
    assert [(row["kind"], row["killmail_id"]) for row in feed] == [("imported", None)] * len(days)
    assert await rows(opened.database, UNPUBLISHED) == []
    before = await rows(opened.database, HISTORY_DAYS)
    assert await request_days(opened.database, source, totals) == 0
    await import_all(opened)
    assert await rows(opened.database, HISTORY_DAYS) == before


async def test_what_is_stored_already_stays_and_is_not_counted(
    opened: Resources, upstream: Standin
) -> None:
    known = list(upstream.dataset.killmails)[:100]
    live = [a_reference(one.body, i, zkb=msgspec.Raw(one.zkb)) for i, one in enumerate(known)]
    await store(opened.database, *read(map(encode_reference, live)))
    ids = {one.killmail_id for one in known}
    before = [row for row in await rows(opened.database, KILLMAILS) if row["killmail_id"] in ids]
    await requested(opened)
    await import_all(opened)
    await assert_whole(opened, upstream)
    after = [row for row in await rows(opened.database, KILLMAILS) if row["killmail_id"] in ids]
    assert after == before
    assert sum(row["added"] for row in await rows(opened.database, IMPORTED_DAYS)) == COUNT - 100


async def test_what_is_stored_between_look_and_insert_is_left_alone(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = list(upstream.dataset.killmails)[:100]
    live = [a_reference(one.body, i, zkb=msgspec.Raw(one.zkb)) for i, one in enumerate(known)]
    await store(opened.database, *read(map(encode_reference, live)))
    monkeypatch.setattr(bulk, "among", lambda *_: false())  # it sees none of them
    await requested(opened)
    await import_all(opened)
    await assert_whole(opened, upstream)
    assert sum(row["added"] for row in await rows(opened.database, IMPORTED_DAYS)) == COUNT - 100


async def test_a_day_that_is_interrupted_goes_on_and_is_counted_once(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await requested(opened)
    stored = module._store
    calls = 0

    async def crash_at_times(*args: Any) -> list[bytes]:
        nonlocal calls
        calls += 1
        if calls % 5 == 0:  # in the middle of days of three batches
            raise RuntimeError("crash")
        return await stored(*args)

    monkeypatch.setattr(module, "_store", crash_at_times)
    monkeypatch.setattr(module, "AFTER_ERROR", timedelta())
    for _ in range(20):
        await run(schedule_days)
        for message in sent("history"):
            try:
                await run(import_day, *message.args)
            except RuntimeError:
                continue
    assert calls > 6
    standing = await read_standing(opened.database, date.min, date.max)
    assert standing.days == {"done": len(by_day(upstream))}
    assert standing.added == COUNT
    await assert_whole(opened, upstream)
    assert len(await rows(opened.database, FEED)) == len(by_day(upstream))


async def test_who_lost_the_lease_writes_nothing(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await requested(opened)
    day = max(by_day(upstream))
    leased = await lease_day(opened.database, day)
    assert leased
    assert await lease_day(opened.database, day) is None
    async with opened.database.begin() as connection:
        await connection.execute(update(HISTORY_DAYS).values(leased_until=EPOCH))
    other = await lease_day(opened.database, day)
    assert other
    with pytest.raises(LeaseLost):
        await begin_download(opened.database, leased)
    monkeypatch.setattr(module, "begin_download", lambda *_: asyncio.sleep(0, True))

    async def ignore(_: list[bytes]) -> None: ...

    args = opened.settings, opened.database, opened.http
    assert await import_leased(*args, leased, ignore) is None
    assert await rows(opened.database, KILLMAILS) == []
    entry = await import_leased(*args, other, ignore)
    assert entry
    assert entry.entry.added == len(by_day(upstream)[day])


async def test_a_day_whose_process_died_is_due_when_its_lease_ends(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "LEASE", timedelta(seconds=0.2))
    day = max(by_day(upstream))
    await request_days(opened.database, "everef", {day: 1})
    await run(schedule_days)
    assert len(sent("history")) == 1
    assert await lease_day(opened.database, day)  # and no more is heard of it
    await run(schedule_days)
    assert sent("history") == []
    await asyncio.sleep(0.25)
    await run(schedule_days)
    assert [message.args[0] for message in sent("history")] == [str(day)]


async def test_a_slow_download_keeps_its_lease(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "LEASE", timedelta(seconds=0.6))
    monkeypatch.setattr(schedule, "RENEW_EVERY_S", 0.1)
    set_faults(upstream, everef_latency_ms=1_500)
    await request_days(opened.database, "everef", {max(by_day(upstream)): 1})
    await run(schedule_days)
    (message,) = sent("history")
    importing = asyncio.create_task(run(import_day, *message.args))
    while not importing.done():
        (row,) = await rows(opened.database, HISTORY_DAYS)
        if row["lease"] and row["state"] == "waiting":
            assert row["leased_until"] > datetime.now(UTC)
        await run(import_day, *message.args)
        await asyncio.sleep(0.05)
    await importing
    (row,) = await rows(opened.database, HISTORY_DAYS)
    assert (row["state"], row["downloading_until"]) == ("done", None)
    assert upstream.playback.stats.requests["everef", "archive", 200] == 1


async def test_a_process_that_ends_gives_its_day_back(opened: Resources, upstream: Standin) -> None:
    set_faults(upstream, everef_latency_ms=10_000)
    await request_days(opened.database, "everef", {max(by_day(upstream)): 1})
    await run(schedule_days)
    (message,) = sent("history")
    importing = asyncio.create_task(run(import_day, *message.args))
    async with asyncio.timeout(5):
        while not (await rows(opened.database, HISTORY_DAYS))[0]["downloading_until"]:
            await asyncio.sleep(0.01)
        importing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await importing
    (row,) = await rows(opened.database, HISTORY_DAYS)
    assert (row["lease"], row["downloading_until"]) == (None, None)
    await run(schedule_days)
    assert [one.args for one in sent("history")] == [message.args]


async def test_on_sqlite_one_day_is_imported_at_a_time(
    opened: Resources, upstream: Standin
) -> None:
    await requested(opened)
    first, second, *_ = sorted(by_day(upstream), reverse=True)
    await run(schedule_days)
    sent("history")
    assert await lease_day(opened.database, first)
    other = await lease_day(opened.database, second)
    assert (other is None) == (opened.database.dialect.name == "sqlite")
    await run(schedule_days)
    assert sent("history") == []
    async with opened.database.begin() as connection:  # the others wait for it no longer
        await connection.execute(update(HISTORY_DAYS).values(leased_until=EPOCH))
    await run(schedule_days)
    assert str(second) in [message.args[0] for message in sent("history")]


async def test_two_importers_at_once_add_each_killmail_once(
    opened: Resources, upstream: Standin
) -> None:
    await requested(opened)
    await run(schedule_days)
    messages = sent("history")
    await asyncio.gather(*(run(import_day, *one.args) for one in [*messages, *messages]))
    await import_all(opened)
    await assert_whole(opened, upstream)
    assert upstream.playback.stats.refused["everef"] == 0
    assert sum(row["added"] for row in await rows(opened.database, IMPORTED_DAYS)) == COUNT


@pytest.mark.parametrize(
    ("faults", "state"),
    [
        ({"everef_status": 429}, "waiting"),
        ({"everef_status": 503}, "waiting"),
        ({"everef_wrong": "html"}, "failed"),
        ({"everef_wrong": "cut"}, "failed"),
    ],
)
async def test_a_day_whose_archive_fails_says_why(
    opened: Resources, upstream: Standin, faults: dict[str, Any], state: str
) -> None:
    totals = await requested(opened)
    set_faults(upstream, **faults)
    await import_all(opened)
    failed = await rows(opened.database, HISTORY_DAYS)
    assert {row["state"] for row in failed} == {state}
    assert all(row["state_reason"] for row in failed)
    assert await rows(opened.database, FEED) == []
    set_faults(upstream)
    async with opened.database.begin() as connection:
        await connection.execute(update(HISTORY_DAYS).values(next_try_at=EPOCH, leased_until=EPOCH))
    await request_days(opened.database, "everef", totals)
    await import_all(opened)
    await assert_whole(opened, upstream)


async def test_what_is_no_killmail_is_rejected_and_the_others_are_stored(
    opened: Resources, upstream: Standin
) -> None:
    set_faults(upstream, everef_wrong="file")
    await requested(opened)
    await import_all(opened)
    await assert_whole(opened, upstream)
    rejected = await rows(opened.database, REJECTED)
    assert len(rejected) == len(by_day(upstream))
    assert all("not an object" in row["reason"] for row in rejected)
    assert {row["rejected"] for row in await rows(opened.database, HISTORY_DAYS)} == {1}


async def test_what_the_database_refuses_is_rejected_alone(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = {one.killmail_id for one in list(upstream.dataset.killmails)[::40]}
    stored = bulk._insert

    async def refuse_some(connection: Any, versions: Any) -> Any:
        if refused & {version.killmail.killmail_id for version in versions}:
            raise OverflowError("too large")
        return await stored(connection, versions)

    monkeypatch.setattr(bulk, "_insert", refuse_some)
    await requested(opened)
    await import_all(opened)
    kept = {row["killmail_id"] for row in await rows(opened.database, KILLMAILS)}
    assert kept == {one.killmail_id for one in upstream.dataset.killmails} - refused
    rejected = await rows(opened.database, REJECTED)
    assert len(rejected) == len(refused)
    days = await rows(opened.database, HISTORY_DAYS)
    assert sum(row["rejected"] for row in days) == len(refused)
    assert sum(row["added"] for row in days) == COUNT - len(refused)


async def test_an_unexpected_error_postpones_the_day(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(module, "_store", fail)
    await requested(opened)
    await run(schedule_days)
    for message in sent("history"):
        with pytest.raises(RuntimeError):
            await run(import_day, *message.args)
    postponed = await rows(opened.database, HISTORY_DAYS)
    assert {row["state"] for row in postponed} == {"waiting"}
    assert all("unexpected" in row["state_reason"] for row in postponed)
    await run(schedule_days)
    assert sent("history") == []


async def test_bodies_that_r2z2_lacks_are_fetched_from_esi(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = [one.killmail_id for one in list(upstream.dataset.killmails)[::50]]
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

    class Lacking:
        @staticmethod
        def decode(text: bytes) -> dict[str, msgspec.Raw]:
            return {name: raw for name, raw in decode(text).items() if int(name) not in lacking}

    monkeypatch.setattr(r2z2, "_BODIES", Lacking)
    await requested(opened, "r2z2")
    await import_all(opened)
    stored = {row["killmail_id"] for row in await rows(opened.database, KILLMAILS)}
    assert stored == {one.killmail_id for one in upstream.dataset.killmails} - set(lacking)
    await run(recall)
    for message in sent("esi"):
        await run(fetch, *message.args)
    for message in sent("database"):
        if message.actor_name == "persist":
            await run(persist, *message.args)
    await assert_whole(opened, upstream)
    assert await rows(opened.database, LEDGER) == []
    added = [row for row in await rows(opened.database, FEED) if row["kind"] == "added"]
    assert {(row["killmail_id"], row["origin"]) for row in added} == {
        (killmail_id, "import") for killmail_id in lacking
    }


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/history/20260101.json", "<html>"),
        ("/history/20260101.json", '{"x":"y"}'),
        ("/history/raw/20260101.json", "[]"),
        ("/history/raw/20260101.json", '{"1":{"killmail_id":'),
    ],
)
async def test_what_r2z2_should_not_say_postpones_the_day(
    sqlite: AsyncEngine, path: str, text: str
) -> None:
    async def say(request: web.Request) -> web.Response:
        return web.Response(text=text if request.path == path else "{}")

    async with server_that_says(say) as url, aiohttp.ClientSession() as http:
        with pytest.raises(RetryLater, match="R2Z2's"):
            await r2z2.download(Settings(r2z2_url=url), http, sqlite, date(2026, 1, 1))


async def test_r2z2_is_asked_within_its_limit(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(r2z2, "SPACING_S", 0.3)
    await requested(opened, "r2z2")
    began_s = time.monotonic()
    await run(schedule_days)
    await asyncio.gather(*(run(import_day, *one.args) for one in sent("history")))
    await import_all(opened)
    assert time.monotonic() - began_s > 2 * 0.3 * len(by_day(upstream))  # one after the other


async def test_a_day_without_an_archive_fails_when_it_is_old(opened: Resources) -> None:
    today = datetime.now(UTC).date()
    await request_days(opened.database, "everef", {date(2008, 1, 1): 5, today: 5})
    await import_all(opened)
    states = {row["day"]: row["state"] for row in await rows(opened.database, HISTORY_DAYS)}
    assert states == {date(2008, 1, 1): "failed", today: "waiting"}


async def test_few_messages_are_under_way(opened: Resources) -> None:
    days = {date(2008, 1, 1) + timedelta(days=n): 5 for n in range(100)}
    await request_days(opened.database, "everef", days)
    await run(schedule_days)
    await run(schedule_days)
    assert [message.args[0] for message in sent("history")] == [
        str(day) for day in sorted(days, reverse=True)[:40]
    ]


def test_esis_text_stays_as_it_was() -> None:
    body = b'{"a":1.0e5,"b":{"killmail_hash":"\\u00e9"},"killmail_id":7}'
    for text in (
        b'{"killmail_hash":"ab",' + body[1:],
        body[:-1] + b',"killmail_hash":"ab","http_last_modified":"x"}',
        body.replace(b',"b"', b',"http_last_modified":"x","killmail_hash":"ab","b"'),
    ):
        (found,) = unpack(pack([("killmails/7.json", text)]))
        assert found == (body, "ab")


def test_files_that_are_no_objects_are_told_apart_and_folders_are_skipped() -> None:
    written = BytesIO()
    with tarfile.open(fileobj=written, mode="w:bz2", format=tarfile.PAX_FORMAT) as archive:
        folder = tarfile.TarInfo("killmails")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, text in (("é" * 200, b"[]"), ("b", b'{"a":1}'), ("c", b"\xff"), ("d", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, BytesIO(text))
    found = list(unpack(written.getvalue()))
    assert [type(one) for one in found] == [Refused, Archived, Refused, Refused]


@pytest.mark.parametrize("end", [1, 50, -30, -1])
def test_an_archive_that_is_cut_off_is_damaged(end: int) -> None:
    whole = pack([(f"{n}.json", b'{"a":1}') for n in range(3)])
    with pytest.raises(Unreadable, match="damaged"):
        list(unpack(whole[:end]))


def test_a_header_that_promises_too_much_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.history.everef.MAX_FILE_BYTES", 10)
    with pytest.raises(Unreadable, match="has 12 bytes"):
        list(unpack(pack([("a.json", b'{"a":123456}')])))


def test_on_sqlite_transactions_follow_the_time_that_they_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SQLITE_BATCH", (50, 250, 1_000))
    size = module._Size(is_sqlite=True)
    size.adapt(size.killmails, 1e-9)
    assert size.killmails == 2 * module.SQLITE_BATCH[1]  # not more at once
    size.adapt(400, module.SQLITE_HOLD_S * 4)
    assert size.killmails == 100
    size.adapt(100, 60.0)
    assert size.killmails == module.SQLITE_BATCH[0]
    for _ in range(9):
        size.adapt(size.killmails, 1e-9)
    assert size.killmails == module.SQLITE_BATCH[2]
    size = module._Size(is_sqlite=False)
    size.adapt(size.killmails, 60.0)
    assert size.killmails == module.BATCH
