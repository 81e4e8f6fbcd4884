"""The steps for Redis."""

import asyncio
import secrets
from collections.abc import AsyncIterator

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError

from actors.shared.errors import DECODE_ERRORS
from actors.shared.feed import CHANNEL, decode_entry
from actors.shared.settings import PREFIX, Settings, masked
from deploy.cli.diagnose.finding import ANSWER_S, Finding, certificate_advice


async def redis_steps(settings: Settings, for_s: float) -> AsyncIterator[Finding]:
    """Check Redis: environment, PING, publish and subscribe, the killmail channel.

    Ends with the first step that fails, as the next ones would fail for the same reason.
    """
    name = f"{PREFIX}REDIS_URL"
    if not settings.redis_url:
        advice = (
            f"set {name}=redis://HOST:6379/0; `just services` starts one on this host, and"
            " `killstream up` needs none"
        )
        yield Finding("environment", f"{name} is not set", advice)
        return
    yield Finding("environment", f"{name}={masked(settings.redis_url)}")
    trying = "URL"
    try:
        async with _open(settings.redis_url) as redis, redis.pubsub() as subscription:
            trying = "PING"
            yield await _ping(redis)
            trying = "publish/subscribe"
            yield await _round_trip(redis, subscription)
            channel = settings.named(CHANNEL)
            trying = f"channel {channel}"
            yield await _listen(redis, subscription, channel, for_s)
    except (RedisError, OSError, ValueError) as error:
        yield Finding(trying, str(error) or type(error).__name__, _advice(error, trying))


def _open(url: str) -> Redis:
    once = Retry(NoBackoff(), 0)  # a retry would hide a server that answers only at times
    return Redis.from_url(url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S, retry=once)


async def _ping(redis: Redis) -> Finding:
    await redis.execute_command("PING")  # connects
    ping_ms = await _measured_ms(redis)
    server = await redis.info("server")
    return Finding("PING", f"{ping_ms:.2f} ms, Redis {server['redis_version']}")


async def _measured_ms(redis: Redis) -> float:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await redis.execute_command("PING")
    return (loop.time() - began_s) * 1000


async def _round_trip(redis: Redis, subscription: PubSub) -> Finding:
    loop = asyncio.get_running_loop()
    scratch = f"killstream:diagnose:{secrets.token_hex(8)}"
    await subscription.subscribe(scratch)
    await _confirmed(subscription)
    began_s = loop.time()
    await redis.publish(scratch, "x")
    message = await subscription.get_message(ignore_subscribe_messages=True, timeout=ANSWER_S)
    if message is None:
        raise TimeoutError(f"the published message wasn't delivered within {ANSWER_S:g} s")
    round_trip_ms = (loop.time() - began_s) * 1000
    await subscription.unsubscribe(scratch)
    await _confirmed(subscription)
    return Finding("publish/subscribe", f"{round_trip_ms:.2f} ms round trip")


async def _listen(redis: Redis, subscription: PubSub, channel: str, for_s: float) -> Finding:
    step = f"channel {channel}"
    [(_, listening)] = await redis.pubsub_numsub(channel)
    await subscription.subscribe(channel)
    await _confirmed(subscription)
    loop = asyncio.get_running_loop()
    until_s = loop.time() + for_s
    entries, last = 0, 0
    while (left_s := until_s - loop.time()) > 0:
        message = await subscription.get_message(ignore_subscribe_messages=True, timeout=left_s)
        if message is None:
            continue
        try:
            sequences = [decode_entry(line).sequence for line in message["data"].splitlines()]
        except DECODE_ERRORS as error:
            advice = (
                "find the other publisher with CLIENT LIST; use a separate Redis for Killstream"
            )
            return Finding(step, f"a message that isn't a killmail: {error}", advice)
        entries, last = entries + len(sequences), max(last, *sequences)
    came = f"{entries} killmails in {for_s:g} s" + (f", the last sequence {last}" if last else "")
    quiet = "" if entries else " (EVE makes about one in 4 s; `killstream status` shows the feed)"
    return Finding(step, f"{listening} subscribed, {came}{quiet}")


async def _confirmed(subscription: PubSub) -> None:
    """Wait until Redis confirms the last SUBSCRIBE or UNSUBSCRIBE."""
    if await subscription.get_message(timeout=ANSWER_S) is None:
        raise TimeoutError(f"no answer within {ANSWER_S:g} s")


def _advice(error: Exception, trying: str) -> str:
    if untrusted := certificate_advice(error):
        return untrusted
    result = str(error).upper()
    if isinstance(error, AuthenticationError) or "NOAUTH" in result or "NOPERM" in result:
        return (
            "user or password are wrong, or the user lacks permissions: redis://USER:PASSWORD@HOST:6379/0;"
            f" the user needs PING, INFO, PUBLISH and SUBSCRIBE (channel {CHANNEL})"
        )
    if isinstance(error, ValueError):
        return "the URL must read redis://HOST:6379/0, or rediss:// with TLS"
    if trying == "PING":
        return (
            "start Redis there (`just services` on this host), or correct the host and port in"
            f" {PREFIX}REDIS_URL; from another host check `bind` and the firewall"
        )
    return "read Redis' log and try again: it answered the step before"
