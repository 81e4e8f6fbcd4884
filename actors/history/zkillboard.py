"""The client of zKillboard's API: pages of an entity's killmails.

Source: zKillboard's API reference (read 2026-11-21).
"""

import json
import re
from dataclasses import dataclass
from typing import Final, Literal

import aiohttp
import msgspec

from actors.esi.answer import Answer, read_answer
from actors.history.errors import BANNED_MS, BUSY_MS, Unreadable
from actors.shared.clean import clean_text
from actors.shared.errors import DECODE_ERRORS, Invalid, RetryLater
from actors.shared.settings import Settings
from actors.shared.useragent import user_agent

Entity = Literal["character", "corporation", "alliance"]

MAX_PAGE: Final = 100
"""zKillboard refuses pages beyond."""
MAX_PAGE_BYTES: Final = 64 * 1024 * 1024
TIMEOUT: Final = aiohttp.ClientTimeout(total=90, sock_connect=5)
"""A deep page that nobody asked for took 37 s."""
ESI_KEYS: Final = frozenset(
    {
        "killmail_id",
        "killmail_time",
        "solar_system_id",
        "moon_id",
        "war_id",
        "victim",
        "attackers",
    }
)
_NOT_JSON: Final = (*DECODE_ERRORS, ValueError)
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_decode_text: Final = json.JSONDecoder().raw_decode


class _Zkb(msgspec.Struct, frozen=True):
    hash: str


class _Listed(msgspec.Struct, frozen=True):
    killmail_id: int
    zkb: msgspec.Raw


class _Error(msgspec.Struct, frozen=True):
    error: str


@dataclass(frozen=True)
class Listed:
    """One killmail of a page."""

    killmail_id: int
    killmail_hash: str
    body: bytes
    """ESI's object, cut out of zKillboard's text."""
    zkb: bytes


@dataclass(frozen=True)
class Page:
    """One page of an entity's killmails, newest first; empty behind the last page."""

    listed: list[Listed]
    refused: list[tuple[str, bytes]]
    """Elements that aren't killmails, each with the reason."""


async def list_page(
    settings: Settings, http: aiohttp.ClientSession, entity: Entity, entity_id: int, page: int
) -> Page:
    """List one page of an entity's killmails.

    Raises:
        Unreadable: zKillboard refuses the request; says why.
        RetryLater: zKillboard is overloaded or fails, or bans this address.
    """
    url = f"{settings.zkillboard_url.rstrip('/')}/api/{entity}ID/{entity_id}/page/{page}/"
    headers = {"User-Agent": user_agent(settings, url), "Accept-Encoding": "gzip"}
    try:
        async with http.get(
            url, headers=headers, timeout=TIMEOUT, allow_redirects=False
        ) as response:
            answer = await read_answer(response, max_bytes=MAX_PAGE_BYTES)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise RetryLater(
            f"zKillboard doesn't answer: {type(error).__name__}", delay_ms=BUSY_MS
        ) from None
    _check(answer)
    try:
        elements = msgspec.json.decode(answer.body, type=list[msgspec.Raw])
    except _NOT_JSON as error:
        raise RetryLater(f"zKillboard's page isn't a list: {error}", delay_ms=BUSY_MS) from None
    found = Page([], [])
    for element in elements:
        text = bytes(element)
        try:
            found.listed.append(_listed(text))
        except (Invalid, *_NOT_JSON) as error:
            found.refused.append((f"not a killmail of zKillboard's API: {error}", text))
    return found


def _check(answer: Answer) -> None:
    if answer.status in (301, 302, 403, 429):
        raise RetryLater(
            f"zKillboard answers {answer.status}: too many requests or errors",
            delay_ms=BANNED_MS,
        )
    if answer.status != 200:
        raise RetryLater(f"zKillboard answers {answer.status}", delay_ms=BUSY_MS)
    if answer.body.lstrip()[:1] == b"{":  # errors have status 200, too
        try:
            said = msgspec.json.decode(answer.body, type=_Error).error
        except _NOT_JSON:
            raise RetryLater("zKillboard's page isn't a list", delay_ms=BUSY_MS) from None
        raise Unreadable(f"zKillboard refuses: {clean_text(said)[:200]}")


def _listed(text: bytes) -> Listed:
    one = msgspec.json.decode(text, type=_Listed)
    zkb = bytes(one.zkb)
    return Listed(
        one.killmail_id,
        msgspec.json.decode(zkb, type=_Zkb).hash,
        cut(text.decode()).encode(),
        zkb,
    )


def cut(text: str) -> str:
    """Cut the keys that aren't ESI's out of a killmail's object; all other text stays.

    Raises:
        Invalid: it isn't an object.
    """
    members = []
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise Invalid("not an object")
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        begin = at
        key, at = _decode_text(text, at)
        at = _skip(text, at)
        _, at = _decode_text(text, _skip(text, at + 1))
        if key in ESI_KEYS:
            members.append(text[begin:at])
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    return "{" + ",".join(members) + "}"


def _skip(text: str, at: int) -> int:
    """Return the position behind white space."""
    found = _SPACE.match(text, at)
    return found.end() if found else at
