"""All killmails, the whole way, and the same set everywhere."""

import asyncio
import random
from pathlib import Path

import aiohttp
from redis.asyncio import Redis

from actors.shared.feed import CHANNEL, Entry
from actors.shared.settings import Settings
from deploy.standin.faults import Faults
from deploy.standin.server import load_dataset, start_standin
from tests.flow.checks import assert_published, assert_stored, read_topic
from tests.support.feed import decode_killmail
from tests.support.killmails import bodies, standin_options
from tests.support.pipeline import Pipeline, pipeline
from tests.support.subscriber import Subscriber

SUBSCRIBERS = 10
THROUGH_ESI = 2_000
WITH_FAULTS = 1_500
BODIES_SERVED = 500


async def test_all_killmails_arrive_everywhere_through_r2z2(
    servers: Settings, tmp_path: Path
) -> None:
    standin = await start_standin(standin_options(limits=False))
    everything = bodies()
    try:
        async with pipeline(
            servers,
            tmp_path,
            parts=("api", "actors"),
            r2z2_url=standin.url,
            esi_url=standin.url,
            r2z2_requests_per_s=100_000.0,
        ) as pipe:
            subscribers = [Subscriber(pipe.url) for _ in range(SUBSCRIBERS)]
            listening = asyncio.create_task(_listen(servers, len(everything)))
            running = [asyncio.create_task(subscriber.run()) for subscriber in subscribers]
            await asyncio.gather(*(subscriber.ready.wait() for subscriber in subscribers))
            await pipe.start("streams")
            await asyncio.gather(*(s.until(len(everything)) for s in subscribers))
            await pipe.until(lambda published: published >= len(everything))
            heard = await listening
            for task in running:
                task.cancel()
            await _assert_bodies_served(pipe, everything)
            for part in ("streams", "actors", "api"):
                assert await pipe.stop(part) == 0
            await assert_stored(pipe.database, everything)
    finally:
        await standin.stop()
    assert_published(heard, everything, len(everything))
    assert_published(await read_topic(servers), everything, len(everything))
    for subscriber in subscribers:
        assert subscriber.seen.keys() == everything.keys()
        assert subscriber.seen.total() == len(everything)


async def test_killmails_arrive_through_redisq_and_an_esi_that_fails(
    servers: Settings, tmp_path: Path
) -> None:
    options = standin_options(THROUGH_ESI, limits=False, faults=Faults(esi_error_rate=0.05))
    played = {played.killmail_id: played.body for played in load_dataset(options).killmails}
    standin = await start_standin(options)
    try:
        async with pipeline(
            servers,
            tmp_path,
            source="redisq",
            redisq_url=standin.url,
            redisq_queue_id="flow",
            redisq_requests_per_s=10_000.0,
            esi_url=standin.url,
            esi_killmail_tokens=0,
        ) as pipe:
            await pipe.until(lambda published: published >= len(played))
            await assert_stored(pipe.database, played)
    finally:
        await standin.stop()
    assert_published(await read_topic(servers), played, len(played))


async def test_nothing_is_lost_or_doubled_whatever_the_upstreams_do(
    servers: Settings, tmp_path: Path
) -> None:
    faults = Faults(
        hole_rate=0.03,
        null_rate=0.02,
        html_rate=0.02,
        duplicate_rate=0.05,
        shuffle=50,
        esi_error_rate=0.05,
    )
    options = standin_options(WITH_FAULTS, seed=7, limits=False, faults=faults)
    played = {played.killmail_id: played.body for played in load_dataset(options).killmails}
    standin = await start_standin(options)
    try:
        async with pipeline(
            servers,
            tmp_path,
            r2z2_url=standin.url,
            esi_url=standin.url,
            r2z2_requests_per_s=100_000.0,
        ) as pipe:
            subscriber = Subscriber(pipe.url, after=0)
            running = asyncio.create_task(subscriber.run())
            await subscriber.until(len(played))
            await pipe.until(lambda published: published >= len(played))
            running.cancel()
            await assert_stored(pipe.database, played)
            assert subscriber.seen.keys() == played.keys()
            assert subscriber.seen.total() == len(played)
    finally:
        await standin.stop()


async def _listen(settings: Settings, last_sequence: int) -> list[Entry]:
    """Read the channel as any program with access to Redis may."""
    entries: list[Entry] = []
    async with Redis.from_url(settings.redis_url) as redis, redis.pubsub() as pubsub:
        await pubsub.subscribe(CHANNEL)
        async for message in pubsub.listen():
            if message["type"] == "message":
                entries += [decode_killmail(line) for line in message["data"].splitlines()]
                if len(entries) >= last_sequence:
                    break
    return entries


async def _assert_bodies_served(pipe: Pipeline, bodies: dict[int, bytes]) -> None:
    sample = random.Random(1).sample(sorted(bodies), min(BODIES_SERVED, len(bodies)))
    async with aiohttp.ClientSession() as http:
        for killmail_id in sample:
            async with http.get(f"{pipe.url}/killmails/{killmail_id}") as answer:
                assert answer.status == 200
                assert await answer.read() == bodies[killmail_id]
