"""The client of EVE Ref's killmail archives: one for each day, each killmail a file of its own.

Source: EVE Ref's documentation of its killmail dataset (read 2026-11-21).
"""

import bz2
import tarfile
from collections.abc import Iterator
from datetime import date
from functools import partial
from http import HTTPStatus
from io import BytesIO
from typing import Final

import aiohttp
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.esi.answer import Answer, read_answer
from actors.history.archive import Archive, Archived, Refused, parse_totals
from actors.history.errors import BANNED_MS, BUSY_MS, NoSuchDay, Unreadable
from actors.shared.errors import DECODE_ERRORS, RetryLater
from actors.shared.outage import one_line
from actors.shared.settings import Settings
from actors.shared.useragent import user_agent

MAX_ARCHIVE_BYTES: Final = 256 * 1024 * 1024
"""Of one day. The largest known ones have some 20 MB."""
MAX_UNPACKED_BYTES: Final = 4 * 1024 * 1024 * 1024
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""Of one file; a body of that size is rejected, a larger file is a damaged header."""
TIMEOUT: Final = aiohttp.ClientTimeout(total=600, sock_connect=10, sock_read=60)
_MEMBER: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode
_DAMAGED: Final = (OSError, EOFError, ValueError)


async def download(
    settings: Settings, http: aiohttp.ClientSession, _: AsyncEngine, day: date
) -> Archive:
    """Download a day's archive.

    Raises:
        NoSuchDay: there is none of that day, or none yet.
        RetryLater: EVE Ref is overloaded or fails, or bans this address.
        Unreadable: it gives too much.
        Misconfigured: the contact is missing.
    """
    answer = await _get(settings, http, f"{day:%Y}/killmails-{day}.tar.bz2")
    if answer.status == HTTPStatus.NOT_FOUND:
        raise NoSuchDay(f"EVE Ref has no archive of {day}")
    _check(answer)
    return Archive(partial(unpack, answer.body), {})


async def totals(
    settings: Settings, http: aiohttp.ClientSession, _: AsyncEngine
) -> dict[date, int]:
    """Return how many killmails EVE Ref has of each day.

    Raises:
        RetryLater: EVE Ref is overloaded or fails, or bans this address.
        Misconfigured: the contact is missing.
    """
    answer = await _get(settings, http, "totals.json")
    _check(answer)
    return parse_totals(answer.body, "EVE Ref's")


def unpack(content: bytes) -> Iterator[Archived | Refused]:
    """Yield the killmails of an archive, unchecked, and the files that aren't objects.

    Raises:
        Unreadable: the archive is damaged or too large; what was yielded before is right.
    """
    try:
        with bz2.open(BytesIO(content)) as unpacked:
            yield from map(_read, _files(unpacked))
    except _DAMAGED as error:
        raise Unreadable(f"the archive is damaged: {one_line(error)}") from None


def _files(unpacked: bz2.BZ2File) -> Iterator[bytes]:
    """Yield the contents of regular files, which are all that an archive has.

    Reads of the headers what is needed: `tarfile` takes five times as long. bz2 has checksums.
    """
    left = MAX_UNPACKED_BYTES
    while any(header := unpacked.read(tarfile.BLOCKSIZE)):
        size = _size(header)
        left -= size
        if left < 0:
            raise Unreadable(f"the archive unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        text = unpacked.read(size)
        if len(text) < size:
            raise EOFError("it ends within a file")
        unpacked.read(-size % tarfile.BLOCKSIZE)
        if header[156:157] in tarfile.REGULAR_TYPES:
            yield text
    if not header:
        raise EOFError("it has no end")
    while padding := unpacked.read(tarfile.RECORDSIZE):  # to where its checksum is
        left -= len(padding)
        if left < 0:
            raise Unreadable("the archive has too much behind its end")


def _size(header: bytes) -> int:
    """Read a file's size. Raises ValueError when it isn't a header."""
    if header[257:262] != b"ustar":
        raise ValueError("it isn't a tar archive")
    size = int(header[124:136].rstrip(b"\0 "), 8)
    if not 0 <= size <= MAX_FILE_BYTES:
        raise ValueError(f"a file has {size} bytes")
    return size


async def _get(settings: Settings, http: aiohttp.ClientSession, path: str) -> Answer:
    url = f"{settings.everef_url.rstrip('/')}/killmails/{path}"
    headers = {"User-Agent": user_agent(settings, url), "Accept-Encoding": "identity"}
    try:
        async with http.get(
            url, headers=headers, timeout=TIMEOUT, allow_redirects=False
        ) as response:
            return await read_answer(response, max_bytes=MAX_ARCHIVE_BYTES)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise RetryLater(f"EVE Ref: {one_line(error)}", delay_ms=BUSY_MS) from None


def _check(answer: Answer) -> None:
    if answer.status in (403, 429):
        raise RetryLater(f"EVE Ref refuses: {answer.status}", delay_ms=BANNED_MS)
    if answer.status != HTTPStatus.OK:
        raise RetryLater(f"EVE Ref answers {answer.status}", delay_ms=BUSY_MS)
    if len(answer.body) > MAX_ARCHIVE_BYTES:
        raise Unreadable(f"EVE Ref gives more than {MAX_ARCHIVE_BYTES} bytes")


def _read(text: bytes) -> Archived | Refused:
    """Cut EVE Ref's keys out of a killmail's object; the values of the others stay as they are."""
    try:
        members = _MEMBER.decode(text)
    except DECODE_ERRORS as error:
        return Refused(f"not an object: {error}", text)
    given = members.pop("killmail_hash", b'""')
    members.pop("http_last_modified", None)
    body = b",".join(b"%b:%b" % (_encode(name), value) for name, value in members.items())
    return Archived(b"{%b}" % body, bytes(given).decode("utf-8", "replace").strip('"'))
