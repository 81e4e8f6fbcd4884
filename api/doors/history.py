"""R2Z2's history: for each day how many killmails there are, their hashes, and their bodies.

Source: zKillboard's R2Z2 page and its `cron/9.dayDump.php` (read 2026-11-26).
"""

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response
from sqlalchemy import select, tuple_

from actors.shared.body import unpack
from actors.shared.dictionaries import learn_dictionaries
from actors.shared.tables import COMPLETENESS_DAYS, KILLMAILS
from api.database import ReadDatabase
from api.doors.answers import cached, door, parameter
from api.doors.client import client_of
from api.doors.streamed import Streamed, gzipped
from api.state import state_of

Members = Callable[[ReadDatabase, Sequence[Any]], AsyncGenerator[bytes, None]]
"""Writes the members of an object, of rows."""

ROUTER: Final = APIRouter()
HASHES_AT_ONCE: Final = 5_000
BODIES_AT_ONCE: Final = 200
"""Rows of one query."""
DAY: Final = timedelta(days=1)
_DAY: Final = parameter("day", "A day in UTC as YYYYMMDD.", where="path", of="string")
_ID: Final = KILLMAILS.c.killmail_id
_TIME: Final = KILLMAILS.c.killmail_time
_KEY: Final = (_TIME, _ID)


@door(ROUTER, "/history/totals.json", name="r2z2_totals")
async def totals(request: Request) -> Response:
    """Return how many killmails there are of each day, as the audit counted them last."""
    state = state_of(request)
    state.doors.files.count(client_of(request))
    columns = COMPLETENESS_DAYS.c
    rows = await state.database.fetch_all(select(columns.day, columns.have).order_by(columns.day))
    counted = {f"{row['day']:%Y%m%d}": row["have"] for row in rows if row["have"]}
    return cached(request, msgspec.json.encode(counted), 0)


@door(ROUTER, "/history/{day}.json", _DAY, name="r2z2_hashes")
async def hashes(request: Request) -> Response:
    """Return the hashes of a day's killmails by id."""
    return await _object(request, HASHES_AT_ONCE, KILLMAILS.c.killmail_hash, _hashes)


@door(ROUTER, "/history/raw/{day}.json", _DAY, name="r2z2_bodies")
async def bodies(request: Request) -> Response:
    """Return ESI's bodies of a day's killmails by id."""
    return await _object(request, BODIES_AT_ONCE, KILLMAILS.c.body, _bodies)


async def _object(request: Request, limit: int, column: Any, members: Members) -> Response:
    """Stream a JSON object with a member for each killmail of the day in the address."""
    state = state_of(request)
    state.doors.files.count(client_of(request))
    day = _day(request.path_params["day"])
    if day is None or not await _has_some(state.database, day):
        return Response("Not Found", 404, {"Cache-Control": "no-store"}, "text/plain")
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    parts = _parts(state.database, _pages(state.database, day, limit, column), members)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        parts, headers["Content-Encoding"] = gzipped(parts), "gzip"
    return Streamed(state.doors, parts, "application/json", headers)


async def _parts(
    database: ReadDatabase, pages: AsyncGenerator[Sequence[Any], None], members: Members
) -> AsyncGenerator[bytes, None]:
    before = b"{"
    async with aclosing(pages):
        async for rows in pages:
            yield before + b",".join([member async for member in members(database, rows)])
            before = b","
    yield b"}"


async def _hashes(_: ReadDatabase, rows: Sequence[Any]) -> AsyncGenerator[bytes, None]:
    for row in rows:
        yield b'"%d":"%b"' % (row["killmail_id"], row["killmail_hash"].encode())


async def _bodies(database: ReadDatabase, rows: Sequence[Any]) -> AsyncGenerator[bytes, None]:
    await learn_dictionaries(database.fetch_all, rows)
    for row in rows:
        yield b'"%d":%b' % (row["killmail_id"], unpack(row["body"]))


async def _pages(
    database: ReadDatabase, day: date, limit: int, column: Any
) -> AsyncGenerator[Sequence[Any], None]:
    """Read a day's rows in pages; raises DatabaseUnavailable."""
    start = datetime.combine(day, time(), UTC)
    of_day = (start <= _TIME) & (start + DAY > _TIME)
    query = select(*_KEY, column).where(of_day).order_by(*_KEY).limit(limit)
    rows = await database.fetch_all(query)
    while rows:
        yield rows
        last = tuple_(rows[-1]["killmail_time"], rows[-1]["killmail_id"], types=_TYPES)
        rows = (
            await database.fetch_all(query.where(tuple_(*_KEY) > last))
            if len(rows) == limit
            else []
        )


async def _has_some(database: ReadDatabase, day: date) -> bool:
    start = datetime.combine(day, time(), UTC)
    query = select(_ID).where(start <= _TIME, start + DAY > _TIME).limit(1)
    return await database.fetch_one(query) is not None


def _day(text: str) -> date | None:
    """Read a day that is over; None when the text is none."""
    try:
        day = (
            date(int(text[:4]), int(text[4:6]), int(text[6:])) if _DIGITS.fullmatch(text) else None
        )
    except ValueError:
        return None
    return day if day is not None and day < datetime.now(UTC).date() else None


_DIGITS: Final = re.compile("[0-9]{8}")
_TYPES: Final = [column.type for column in _KEY]
