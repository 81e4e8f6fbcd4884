import asyncio
from dataclasses import replace

import pytest
from aiohttp import web

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings
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

HASH = "8ef20e05bcced7e543e113b0f33438fd16d664fa"


def settings_for(url: str, **more: object) -> Settings:
    given = {"redisq_queue_id": "tests", "redisq_ttw_s": 1, "redisq_requests_per_s": 5000}
    return Settings(source="redisq", redisq_url=url, **(given | more))  # type: ignore[arg-type]


@pytest.mark.parametrize("embedded", [False, True])
async def test_every_killmail_arrives(log: Log, embedded: bool) -> None:
    async with standin({"redisq_embedded": embedded, "shuffle": 10}) as served:
        wanted = dataset_ids(served.dataset)
        settings = settings_for(served.url)
        await poll_until(lambda: log.durable >= wanted, settings, log, acked=True)
        cursor = await read_cursor(log.database, redisq_name(settings))
    assert [reference.position for reference in log.taken] == list(range(1, len(wanted) + 1))
    assert cursor == len(wanted)
    for reference in log.taken:
        played = served.dataset.killmails.find(reference.killmail_id)
        assert played
        assert bytes(reference.body) == (played.body if embedded else b"")
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
        cut_off = await ledger_positions(log.database)
        log.persists = True
        await recall_all(log.database)
        counts = await poll_until(lambda: log.durable >= wanted, settings, log, acked=True)
    assert len(cut_off) >= 5
    assert counts.recalled == len(cut_off)


async def test_each_package_is_in_the_ledger_before_the_next_poll(log: Log) -> None:
    held: list[int] = []

    async def listen(_: web.Request) -> web.Response:
        held.append(len(await ledger_positions(log.database)))
        killmail_id = len(held)
        return web.json_response({"package": {"killID": killmail_id, "zkb": {"hash": HASH}}})

    log.persists = False
    async with upstream({"/listen.php": listen}) as url:
        await poll_until(lambda: len(held) >= 10, settings_for(url), log)
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


async def test_a_lost_package_is_counted_and_passed(log: Log) -> None:
    polls = 0

    async def listen(_: web.Request) -> web.Response:
        nonlocal polls
        polls += 1
        raise web.HTTPFound(f"/object.php?objectID={polls}")

    async def give(request: web.Request) -> web.Response:
        killmail_id = int(request.query["objectID"])
        if killmail_id % 2:
            return web.Response(status=404)
        return web.json_response({"package": {"killID": killmail_id, "zkb": {"hash": HASH}}})

    async with upstream({"/listen.php": listen, "/object.php": give}) as url:
        counts = await poll_until(lambda: len(log.durable) >= 3, settings_for(url), log)
    assert all(killmail_id % 2 == 0 for killmail_id in log.durable)
    assert counts.passed["lost"] >= 3


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
