import asyncio
from dataclasses import replace

import pytest
import structlog
from aiohttp import web
from redis.asyncio import Redis
from sqlalchemy import text, update

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings
from actors.shared.tables import CURSORS, LEDGER
from streams.ledger import read_cursor, recall_all
from streams.poll import poll
from streams.sources.redisq import redisq_name
from streams.sources.step import UpstreamRetired
from tests.streams.rig import (
    QUICK,
    Log,
    dataset_ids,
    ledger_positions,
    poll_until,
    standin,
    upstream,
)
from tests.support.servers import server_urls
from tests.support.tables import rows

HASH = "8ef20e05bcced7e543e113b0f33438fd16d664fa"


def settings_for(url: str, **more: object) -> Settings:
    given = {"redisq_queue_id": "tests", "redisq_ttw_s": 1, "redisq_requests_per_s": 5000}
    return Settings(source="redisq", redisq_url=url, **(given | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(("embedded", "bodies"), [(False, True), (True, False), (True, True)])
async def test_every_killmail_arrives(log: Log, embedded: bool, bodies: bool) -> None:
    async with standin({"redisq_embedded": embedded, "shuffle": 10}) as served:
        wanted = dataset_ids(served.dataset)
        settings = settings_for(served.url, redisq_bodies=bodies)
        await poll_until(lambda: log.durable >= wanted, settings, log, acked=True)
        cursor = await read_cursor(log.database, redisq_name(settings))
    positions = sorted(reference.position for reference in log.taken)
    assert positions == list(range(1, len(wanted) + 1))
    assert cursor == len(wanted)
    for reference in log.taken:
        played = served.dataset.killmails.find(reference.killmail_id)
        assert played
        assert bytes(reference.body) == (played.body if embedded and bodies else b"")
        assert reference.as_of == 0.0
        assert bytes(reference.zkb) == played.zkb
        assert reference.hash == played.killmail_hash


async def test_positions_go_on_after_a_restart(log: Log) -> None:
    async with standin(synthetic=20) as served:
        wanted = dataset_ids(served.dataset)
        settings = settings_for(served.url)
        await poll_until(lambda: len(log.durable) >= 5, settings, log)
        await poll_until(lambda: log.durable >= wanted, settings, log)
    assert [reference.position for reference in log.taken] == list(range(1, 21))


async def test_what_the_event_log_forgot_is_sent_again(log: Log) -> None:
    async with standin(synthetic=20) as served:
        wanted = dataset_ids(served.dataset)
        settings = settings_for(served.url)
        log.persists = False
        await poll_until(lambda: len(log.taken) >= 5, settings, log)
        cut_off = [r for r in await rows(log.database, LEDGER) if r["kind"] == "received"]
        log.persists = True
        await recall_all(log.database)
        counts = await poll_until(lambda: log.durable >= wanted, settings, log, acked=True)
    assert len(cut_off) >= 5
    assert counts.recalled == len(cut_off)


async def test_each_package_is_in_the_ledger_before_the_next_poll(log: Log) -> None:
    held: list[int] = []

    async def lock_cursors(locked: asyncio.Event) -> None:
        async with log.database.begin() as connection:
            await connection.execute(update(CURSORS).values(tip=0))
            locked.set()
            await asyncio.sleep(0.05)

    async def listen(_: web.Request) -> web.Response:
        held.append(len(await ledger_positions(log.database)))
        killmail_id = len(held)
        # Recording takes longer than a poll, so that one too early would show.
        locking.append(asyncio.create_task(lock_cursors(locked := asyncio.Event())))
        await locked.wait()
        return web.json_response({"package": {"killID": killmail_id, "zkb": {"hash": HASH}}})

    log.persists = False
    locking: list[asyncio.Task[None]] = []
    async with upstream({"/listen.php": listen}) as url:
        await poll_until(lambda: len(held) >= 10, settings_for(url), log)
    await asyncio.gather(*locking)
    assert held == list(range(len(held)))


async def test_a_filter_is_passed_on(log: Log) -> None:
    async with standin(synthetic=40) as served:
        killmails = {r.killmail_id for r in served.dataset.killmails if b'"npc":true' in r.zkb}
        settings = settings_for(served.url, redisq_filter="npc=true")
        await poll_until(lambda: log.durable >= killmails, settings, log)
    assert log.durable == killmails
    assert killmails


async def test_a_filter_that_is_refused_ends_it(log: Log) -> None:
    async with standin() as served:
        settings = settings_for(served.url, redisq_filter="npc")
        with pytest.raises(Misconfigured, match="KILLSTREAM_REDISQ_FILTER='npc'"):
            await poll_until(lambda: False, settings, log)


async def test_the_sunset_ends_it(log: Log) -> None:
    async with standin({"redisq_sunset": True}) as served:
        with pytest.raises(UpstreamRetired, match="KILLSTREAM_SOURCE=r2z2"):
            await poll_until(lambda: False, settings_for(served.url), log)


async def test_a_queue_needs_a_name(log: Log) -> None:
    with pytest.raises(Misconfigured, match="KILLSTREAM_REDISQ_QUEUE_ID"):
        await poll_until(lambda: False, Settings(source="redisq"), log)


async def test_the_pace_is_never_exceeded(log: Log) -> None:
    async with standin(limits=True, synthetic=3) as served:
        settings = settings_for(served.url, redisq_requests_per_s=2)
        wanted = dataset_ids(served.dataset)
        await poll_until(lambda: log.durable >= wanted, settings, log)
        assert served.playback.stats.refused["redisq"] == 0


async def test_too_fast_is_waited_out(log: Log) -> None:
    options = replace(QUICK, waits=replace(QUICK.waits, too_fast_s=1.1))
    async with standin(limits=True, synthetic=4) as served:
        wanted = dataset_ids(served.dataset)
        await poll_until(lambda: log.durable >= wanted, settings_for(served.url), log, options)
        assert served.playback.stats.refused["redisq"] > 0


async def test_an_object_that_is_gone_is_rejected_with_its_id(log: Log) -> None:
    polls = 0

    async def listen(_: web.Request) -> web.Response:
        nonlocal polls
        polls += 1
        raise web.HTTPFound(f"/object.php?objectID={polls if polls <= 6 else 'null'}")

    async def give(request: web.Request) -> web.Response:
        killmail_id = int(request.query["objectID"])
        if killmail_id % 2:
            return web.Response(status=404)
        return web.json_response({"package": {"killID": killmail_id, "zkb": {"hash": HASH}}})

    async with upstream({"/listen.php": listen, "/object.php": give}) as url:
        counts = await poll_until(lambda: len(log.refused) == 3, settings_for(url), log, acked=True)
    assert log.durable == {2, 4, 6}
    assert counts.skipped["lost"] == 3
    assert {refused.value for refused in log.refused} == {
        b'{"objectID":"1"}', b'{"objectID":"3"}', b'{"objectID":"5"}',
    }  # fmt: skip


@pytest.mark.parametrize("wrong", ["503", "429", "cut", "utf8"])
async def test_an_object_is_fetched_as_often_as_needed(log: Log, wrong: str) -> None:
    faults = {"redisq_object_wrong": [wrong], "redisq_object_wrong_first": 3}
    async with standin(faults, synthetic=10) as served:
        wanted = dataset_ids(served.dataset)
        await poll_until(lambda: log.durable >= wanted, settings_for(served.url), log, acked=True)
        assert served.playback.stats.faults["redisq_object_wrong"] == 30
    assert not log.refused


async def test_an_object_that_stays_unreadable_is_rejected_whole(log: Log) -> None:
    cut = b'{"package":{"killID":7,"zkb":{"hash":"'
    given = ["7"]

    async def listen(_: web.Request) -> web.Response:
        raise web.HTTPFound(f"/object.php?objectID={given.pop() if given else 'null'}")

    async def give(_: web.Request) -> web.Response:
        return web.Response(body=cut)

    options = replace(QUICK, waits=replace(QUICK.waits, object_s=1.0))
    async with upstream({"/listen.php": listen, "/object.php": give}) as url:
        settings = settings_for(url)
        await poll_until(lambda: bool(log.refused), settings, log, options, acked=True)
    (refused,) = log.refused
    assert refused.value == cut
    assert "no JSON" in refused.reason


async def test_an_object_that_was_not_fetched_before_a_crash_is_fetched_after_it(log: Log) -> None:
    given, broken = ["7"], True

    async def listen(_: web.Request) -> web.Response:
        raise web.HTTPFound(f"/object.php?objectID={given.pop() if given else 'null'}")

    async def give(request: web.Request) -> web.Response:
        if broken:
            return web.Response(status=503)
        killmail_id = int(request.query["objectID"])
        return web.json_response({"package": {"killID": killmail_id, "zkb": {"hash": HASH}}})

    async with upstream({"/listen.php": listen, "/object.php": give}) as url:
        await poll_until(lambda: not given, settings_for(url), log)
        (row,) = await rows(log.database, LEDGER)
        assert (row["kind"], row["object_id"], row["position"]) == ("object", "7", 1)
        broken = False
        await poll_until(lambda: log.durable == {7}, settings_for(url), log, acked=True)
    assert [reference.position for reference in log.taken] == [1]


@pytest.mark.parametrize("value", [b'{"package":{"killID":7,', b'{"package":{"a":"\xff"}}'])
async def test_a_package_that_is_given_once_and_unreadable_is_rejected_whole(
    log: Log, value: bytes
) -> None:
    given = [value]

    async def listen(_: web.Request) -> web.Response:
        return web.Response(body=given.pop() if given else b'{"package":null}')

    async with upstream({"/listen.php": listen}) as url:
        await poll_until(lambda: bool(log.refused), settings_for(url), log, acked=True)
    assert [refused.value for refused in log.refused] == [value]


@pytest.mark.parametrize(
    ("path", "listen", "fetch"),
    [
        ("", "/listen.php", "/object.php"),
        ("/", "/listen.php", "/object.php"),
        ("/redisq", "/redisq", "/object.php"),
        ("/zkb/listen.php", "/zkb/listen.php", "/zkb/object.php"),
    ],
)
async def test_the_path_in_the_url_is_the_one_that_is_polled(
    log: Log, path: str, listen: str, fetch: str
) -> None:
    async def redirect(_: web.Request) -> web.Response:
        raise web.HTTPFound(f"{fetch}?objectID=7")

    async def give(_: web.Request) -> web.Response:
        return web.json_response({"package": {"killID": 7, "zkb": {"hash": HASH}}})

    async with upstream({listen: redirect, fetch: give}) as url:
        await poll_until(lambda: log.durable == {7}, settings_for(url + path), log)


async def test_redirects_elsewhere_are_followed_up_to_the_object(log: Log) -> None:
    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPMovedPermanently(f"/new?{request.query_string}")

    async def listen(request: web.Request) -> web.Response:
        assert request.query["queueID"] == "tests"
        raise web.HTTPFound("/object.php?objectID=7")

    async def give(_: web.Request) -> web.Response:
        return web.json_response({"package": {"killID": 7, "zkb": {"hash": HASH}}})

    async with upstream({"/listen.php": moved, "/new": listen, "/object.php": give}) as url:
        await poll_until(lambda: log.durable == {7}, settings_for(url), log)


@pytest.mark.parametrize("bodies", [False, True])
async def test_a_server_that_answers_at_once_under_a_path_of_its_own(
    log: Log, bodies: bool
) -> None:
    async with standin({"redisq_evekill": True}, synthetic=10) as served:
        wanted = dataset_ids(served.dataset)
        settings = settings_for(f"{served.url}/redisq", redisq_bodies=bodies)
        await poll_until(lambda: log.durable >= wanted, settings, log, acked=True)
    assert {bool(reference.body) for reference in log.taken} == {bodies}
    for reference in log.taken:
        played = served.dataset.killmails.find(reference.killmail_id)
        assert played
        assert reference.hash == played.killmail_hash


@pytest.mark.service
async def test_a_poll_that_is_under_way_outlives_its_lease(log: Log) -> None:
    asked, lost, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def listen(_: web.Request) -> web.Response:
        if asked.is_set():
            return web.json_response({"package": None})
        asked.set()
        await lost.wait()
        return web.json_response({"package": {"killID": 1, "zkb": {"hash": HASH}}})

    async with (
        upstream({"/listen.php": listen}) as url,
        Redis.from_url(server_urls()["redis_url"]) as redis,
        asyncio.timeout(20),
    ):
        settings = settings_for(url, redis_url=server_urls()["redis_url"])
        polling = asyncio.create_task(
            poll(settings, log.database, log.send, log.refuse, stop, options=QUICK)
        )
        await asked.wait()
        lock = f"killstream:poll:{redisq_name(settings)}"
        await redis.set(lock, "another process", px=3_000)
        await asyncio.sleep(3 * QUICK.lease.renewed_every_s)  # until the loss shows
        lost.set()
        while log.durable != {1}:
            await asyncio.sleep(0.01)
        stop.set()
        await polling
    assert [reference.position for reference in log.taken] == [1]


async def test_html_loops_and_errors_are_waited_out(log: Log) -> None:
    polls = 0

    async def listen(_: web.Request) -> web.Response:
        nonlocal polls
        polls += 1
        if polls % 5 == 1:
            return web.Response(body=b"<html>", content_type="text/html")
        if polls % 5 == 2:
            return web.Response(status=503)
        if polls == 3:
            raise web.HTTPFound("/round")
        if polls % 5 == 4:
            return web.json_response({"package": None})
        return web.json_response({"package": {"killID": polls, "zkb": {"hash": HASH}}})

    async def go_round(_: web.Request) -> web.Response:
        raise web.HTTPFound("/round")

    async with upstream({"/listen.php": listen, "/round": go_round}) as url:
        await poll_until(lambda: len(log.durable) >= 3, settings_for(url), log)
    assert not log.refused


async def test_a_malformed_package_is_kept_aside(log: Log) -> None:
    polls = 0

    async def listen(_: web.Request) -> web.Response:
        nonlocal polls
        polls += 1
        zkb = {"hash": HASH} if polls % 2 else {}
        return web.json_response({"package": {"killID": polls, "zkb": zkb}})

    async with upstream({"/listen.php": listen}) as url:
        await poll_until(lambda: 3 in log.durable, settings_for(url), log, acked=True)
    assert 2 not in log.durable
    assert log.refused[0].position == 2
    assert b'"killID": 2' in log.refused[0].value


async def test_a_graceful_end_takes_the_poll_that_is_under_way(log: Log) -> None:
    asked, stop = asyncio.Event(), asyncio.Event()

    async def listen(_: web.Request) -> web.Response:
        asked.set()
        await stop.wait()
        return web.json_response({"package": {"killID": 1, "zkb": {"hash": HASH}}})

    async with upstream({"/listen.php": listen}) as url, asyncio.timeout(20):
        polling = asyncio.create_task(
            poll(settings_for(url), log.database, log.send, log.refuse, stop, options=QUICK)
        )
        await asked.wait()
        stop.set()
        counts = await polling
    assert log.durable == {1}
    assert counts.received == 1


@pytest.mark.parametrize("redirects", [True, False])
async def test_what_no_database_took_before_the_end_is_said(log: Log, redirects: bool) -> None:
    asked = asyncio.Event()

    async def listen(_: web.Request) -> web.Response:
        if asked.is_set():
            return web.json_response({"package": None})
        async with log.database.begin() as connection:
            await connection.execute(text("ALTER TABLE ledger RENAME TO ledger_behind"))
        asked.set()
        if redirects:
            raise web.HTTPFound("/object.php?objectID=an-object")
        return web.json_response({"package": {"killID": 7, "zkb": {"hash": HASH}}})

    options = replace(QUICK, given_once_s=0.3)
    with structlog.testing.capture_logs() as logs:
        async with upstream({"/listen.php": listen}) as url:
            await poll_until(asked.is_set, settings_for(url), log, options)
    (lost,) = [line for line in logs if line["event"] == "poll.given_once_lost"]
    given = (lost["objects"], lost["killmails"])
    assert given == ((("an-object",), []) if redirects else ((), [f"7/{HASH}"]))
