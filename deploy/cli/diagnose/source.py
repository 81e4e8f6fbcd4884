"""The steps for the source."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from actors.shared.errors import DECODE_ERRORS, Misconfigured
from actors.shared.health.database import probe_database
from actors.shared.health.facts import DatabaseFacts
from actors.shared.settings import PREFIX, Settings, masked
from deploy.cli.diagnose.finding import ANSWER_S, Failed, Finding, elapsed_ms, run_step
from deploy.cli.diagnose.upstream import request, upstream_advice
from streams.sources.r2z2 import r2z2_name
from streams.sources.redisq import redisq_name

R2Z2: Final = f"{PREFIX}R2Z2_URL"
REDISQ: Final = f"{PREFIX}REDISQ_URL"

Try = Callable[[Settings], Awaitable[str]]


async def source_steps(settings: Settings) -> AsyncIterator[Finding]:
    """Check the configured source: environment, then two requests that consume no killmails.

    Ends with the first step that fails.
    """
    match settings.source:
        case "r2z2":
            name, url = R2Z2, settings.r2z2_url
            steps: tuple[tuple[str, Try], ...] = (
                ("newest", _newest),
                ("read position", _read_position),
            )
        case "redisq":
            name, url = REDISQ, settings.redisq_url
            steps = (("queue", _name_queue), ("poll", _poll))
        case "none":
            advice = f"set {PREFIX}SOURCE=r2z2; `none` is for deployments that don't poll"
            yield Finding("environment", f"{PREFIX}SOURCE=none: nothing is polled", advice)
            return
    yield Finding("environment", f"{PREFIX}SOURCE={settings.source}, {name}={masked(url)}")
    for step, run in steps:
        finding = await run_step(step, run(settings), lambda error: _advice(name, url, error))
        yield finding
        if finding.advice:
            return


def _advice(name: str, url: str, error: Exception) -> str:
    if isinstance(error, Misconfigured) and "QUEUE_ID" in str(error):
        return "set it: a name that no other deployment uses"
    return upstream_advice(name, url, error)


async def _newest(settings: Settings) -> str:
    """Request the newest sequence number and its file."""
    began_s = asyncio.get_running_loop().time()
    number = await _sequence(settings)
    result = f"{elapsed_ms(began_s)}, {number}"
    began_s = asyncio.get_running_loop().time()
    absent = "the newest file doesn't exist yet, or the numbering restarted: try again in a minute"
    body, _ = await request(settings, "GET", f"{settings.r2z2_url}/ephemeral/{number}.json", absent)
    file = _object(body, R2Z2)
    if "killmail_id" not in file:
        raise Failed(
            "its file isn't R2Z2's", f"{R2Z2} isn't R2Z2's address, or its format has changed"
        )
    return f"{result}; its file took {elapsed_ms(began_s)}, killmail {file['killmail_id']}"


async def _sequence(settings: Settings) -> int:
    not_r2z2 = f"{R2Z2} isn't R2Z2's address"
    url = f"{settings.r2z2_url}/ephemeral/sequence.json"
    body, _ = await request(settings, "GET", url, not_r2z2)
    number = _object(body, R2Z2).get("sequence")
    if not isinstance(number, int):
        raise Failed("sequence.json has no number", not_r2z2)
    return number


async def _read_position(settings: Settings) -> str:
    """Return the position in the source that the database has."""
    facts = await probe_database(settings, limit_s=ANSWER_S)
    if not isinstance(facts, DatabaseFacts):
        return "unknown: the database can't be read"
    for source in facts.sources:
        if source.source == r2z2_name(settings):
            return f"read up to {source.position}, {source.age_s:.0f} s ago"
    return "nothing was read yet"


async def _name_queue(settings: Settings) -> str:
    return redisq_name(settings)


async def _poll(settings: Settings) -> str:
    """Poll a temporary queue, so that the configured one loses nothing."""
    began_s = asyncio.get_running_loop().time()
    base = settings.redisq_url
    url = base if urlsplit(base).path.strip("/") else f"{base}/listen.php"
    query = {"queueID": f"killstream-diagnose-{secrets.token_hex(4)}", "ttw": "1"}
    not_redisq = f"{REDISQ} isn't the address of a RedisQ server"
    body, _ = await request(settings, "GET", url, not_redisq, params=query)
    if "package" not in _object(body, REDISQ):
        raise Failed("the answer isn't RedisQ's", not_redisq)
    return f"{elapsed_ms(began_s)}, from a temporary queue"


def _object(body: bytes, name: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except DECODE_ERRORS:
        raise Failed(
            "the answer isn't a JSON object", f"{name} is another server's address"
        ) from None
