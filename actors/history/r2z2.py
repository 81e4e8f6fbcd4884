"""The client of R2Z2's history: for each day the hashes of its killmails, and their bodies.

Source: zKillboard's R2Z2 page and its `cron/9.dayDump.php` (read 2026-11-21).
"""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import date
from functools import partial
from http import HTTPStatus
from typing import Annotated, Final

import aiohttp
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.esi.answer import Answer, read_answer
from actors.history.archive import Archive, Archived, Refused, parse_totals
from actors.history.errors import BUSY_MS, Banned, NoSuchDay, Unreadable
from actors.history.turns import pause, take_turn
from actors.shared.errors import DECODE_ERRORS, RetryLater
from actors.shared.finding.kinds import MAX_KILLMAIL_ID
from actors.shared.outage import one_line
from actors.shared.reference import clean_hash, is_hash
from actors.shared.settings import Settings
from actors.shared.useragent import user_agent

MAX_BYTES: Final = 512 * 1024 * 1024
"""Of one answer. The largest known days have some 100 MB of bodies."""
TIMEOUT: Final = aiohttp.ClientTimeout(total=600, sock_connect=10, sock_read=60)
UPSTREAM: Final = "r2z2"
"""Its name in `request_turns`: the live feed comes from it too."""
SPACING_S: Final = 1.1
"""Between requests. R2Z2 allows 15 a second and address; the poller sends 14 at most."""
BANNED_MS: Final = 3_600_000
"""Delay after a refusal: R2Z2 bans an address for up to an hour, and longer if it goes on."""

_KillmailId = Annotated[int, msgspec.Meta(ge=1, le=MAX_KILLMAIL_ID)]
_HASHES: Final = msgspec.json.Decoder(dict[_KillmailId, str])
_BODIES: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def totals(
    settings: Settings, http: aiohttp.ClientSession, database: AsyncEngine
) -> dict[date, int]:
    """Return how many killmails R2Z2 has of each day.

    Raises:
        RetryLater: R2Z2 is overloaded or fails, or bans this address.
        Misconfigured: the contact is missing.
    """
    try:
        answer = await _get(settings, http, database, "totals.json")
    except (NoSuchDay, Unreadable) as error:
        raise RetryLater(str(error), delay_ms=BUSY_MS) from None
    return parse_totals(answer.body, "R2Z2's")


async def hashes(
    settings: Settings, http: aiohttp.ClientSession, database: AsyncEngine, day: date
) -> dict[int, str]:
    """Return the hashes of a day's killmails by id; empty where R2Z2 gives something else.

    Raises:
        NoSuchDay: R2Z2 has none of that day, or none yet.
        RetryLater: R2Z2 is overloaded or fails, or bans this address.
        Misconfigured: the contact is missing.
    """
    answer = await _get(settings, http, database, f"{day:%Y%m%d}.json")
    try:
        given = _HASHES.decode(answer.body)
    except DECODE_ERRORS as error:
        raise RetryLater(f"R2Z2's hashes of {day}: {one_line(error)}", delay_ms=BUSY_MS) from None
    cleaned = {killmail_id: clean_hash(hash_) for killmail_id, hash_ in given.items()}
    return {id_: hash_ if is_hash(hash_) else "" for id_, hash_ in cleaned.items()}


async def download(
    settings: Settings, http: aiohttp.ClientSession, database: AsyncEngine, day: date
) -> Archive:
    """Download a day's hashes and bodies.

    Raises:
        NoSuchDay: R2Z2 has none of that day, or none yet.
        RetryLater: R2Z2 is overloaded or fails, or bans this address.
        Unreadable: it gives too much.
        Misconfigured: the contact is missing.
    """
    known = await hashes(settings, http, database, day)
    answer = await _get(settings, http, database, f"raw/{day:%Y%m%d}.json")
    try:
        bodies = await asyncio.to_thread(_BODIES.decode, answer.body)
    except DECODE_ERRORS as error:
        raise RetryLater(f"R2Z2's bodies of {day}: {one_line(error)}", delay_ms=BUSY_MS) from None
    missing = {id_: hash_ for id_, hash_ in known.items() if hash_ and str(id_) not in bodies}
    return Archive(partial(_unpack, bodies, known), missing)


def _unpack(
    bodies: Mapping[str, msgspec.Raw], known: Mapping[int, str]
) -> Iterator[Archived | Refused]:
    for name, raw in bodies.items():
        body = bytes(raw)
        if body[:1] != b"{":
            yield Refused(f"{name[:50]} isn't an object", body)
        else:
            yield Archived(body, known.get(int(name), "") if name.isdecimal() else "")


async def _get(
    settings: Settings, http: aiohttp.ClientSession, database: AsyncEngine, path: str
) -> Answer:
    url = f"{settings.r2z2_url.rstrip('/')}/history/{path}"
    headers = {"User-Agent": user_agent(settings, url), "Accept-Encoding": "gzip"}
    await take_turn(database, UPSTREAM, SPACING_S)
    try:
        async with http.get(
            url, headers=headers, timeout=TIMEOUT, allow_redirects=False
        ) as response:
            answer = await read_answer(response, max_bytes=MAX_BYTES)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise RetryLater(f"R2Z2: {one_line(error)}", delay_ms=BUSY_MS) from None
    if answer.status == HTTPStatus.NOT_FOUND:
        raise NoSuchDay(f"R2Z2 has no {path}")
    if answer.status in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
        await pause(database, UPSTREAM, BANNED_MS)
        raise Banned(f"R2Z2 refuses: {answer.status}", delay_ms=BANNED_MS)
    if answer.status != HTTPStatus.OK:
        raise RetryLater(f"R2Z2 answers {answer.status}", delay_ms=BUSY_MS)
    if len(answer.body) > MAX_BYTES:
        raise Unreadable(f"R2Z2 gives more than {MAX_BYTES} bytes")
    return answer
