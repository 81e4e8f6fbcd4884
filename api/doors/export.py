"""Exports: all killmails of a filter as a file, newest first, page by page.

The newest ids come first. An export isn't one state of the database: each page is.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final, cast

from fastapi import APIRouter, Request, Response

from actors.shared.finding.tree import Tree
from api.database import DatabaseUnavailable
from api.doors.answers import door, parameter
from api.doors.client import client_of
from api.doors.export_formats import FORMATS, Cut, Format, Gzip
from api.doors.filtering import tree_of_query
from api.doors.live import RESTARTING
from api.doors.metrics import DELIVERIES
from api.doors.parameters import MAX_SEQUENCE, one, whole_number
from api.doors.streamed import Streamed
from api.errors import BadInput
from api.openapi import filter_parameters
from api.search import Found, by_id
from api.state import State, state_of

ROUTER: Final = APIRouter()
MAX_ROWS: Final = 100_000
MAX_BYTES: Final = 256 * 1024 * 1024
MAX_S: Final = 120.0
"""What one export may have of rows, of bytes, and of time."""
PAGE_ROWS: Final = 200


@dataclass(frozen=True)
class Order:
    """What is to be exported."""

    state: State
    tree: Tree
    format: Format
    limit: int
    first: Found
    """The first page."""


async def export(request: Request) -> Response:
    """Export the killmails of a filter."""
    state, name = state_of(request), request.url.path.rpartition(".")[2]
    format_ = await asyncio.to_thread(FORMATS[name])  # the first of Parquet loads PyArrow
    if name != "parquet" and "gzip" in request.headers.get("Accept-Encoding", ""):
        format_ = Gzip(format_)
    after = whole_number("after", one(request, "after"))
    limit = whole_number("limit", one(request, "limit"))
    if limit is not None and not 1 <= limit <= MAX_ROWS:
        raise BadInput(f"limit: must be 1 to {MAX_ROWS}")
    tree = await tree_of_query(state.facts, request, ("after", "limit"))
    with state.doors.export.taken(client_of(request)):
        start = None if after is None else after - 1
        first = await _page(state, tree, format_, start, limit or MAX_ROWS)
    order = Order(state, tree, format_, limit or MAX_ROWS, first)
    return Streamed(state.doors, parts_of(order), format_.media_type, _headers(order))


def _headers(order: Order) -> dict[str, str]:
    """Say also whether the index lists all stored killmails."""
    headers = {
        "Cache-Control": "no-store",
        "Vary": "Accept-Encoding",
        "Killstream-Complete": "true" if order.first.complete else "false",
    }
    return headers | ({"Content-Encoding": "gzip"} if isinstance(order.format, Gzip) else {})


_PARAMETERS: Final = (
    parameter("after", "Gives killmails with lower ids only.", minimum=0, maximum=MAX_SEQUENCE),
    parameter("limit", "How many rows at most.", minimum=1, maximum=MAX_ROWS),
)
for _name in FORMATS:
    door(ROUTER, f"/export.{_name}", *_PARAMETERS, *filter_parameters(), name=f"export_as_{_name}")(
        export
    )


async def parts_of(order: Order) -> AsyncGenerator[bytes, None]:
    """Give the parts of the file; its end says whether it was cut, and where to go on."""
    rows, size, page = 0, 0, order.first
    ends_at_s = asyncio.get_running_loop().time() + MAX_S
    while True:
        rows += len(page.views)
        # In a thread: Parquet takes some 10 ms for a group of rows.
        part = await asyncio.to_thread(order.format.add, [view for view, _ in page.views])
        size += len(part)
        DELIVERIES.labels("export").inc(len(page.views))
        if part:
            yield part
        if page.searched_to is None:
            break
        position = cast(int, page.searched_to)
        if reason := _limit_reached(order, rows, size, ends_at_s):
            break
        try:
            page = await _page(order.state, order.tree, order.format, position, order.limit - rows)
        except DatabaseUnavailable:
            reason = "unavailable"
            break
    cut = None if page.searched_to is None else Cut(reason, position + 1)
    yield await asyncio.to_thread(order.format.end, cut)


def _limit_reached(order: Order, rows: int, size: int, ends_at_s: float) -> str:
    """Return which limit ends an export; empty while none does."""
    limits = {
        "rows": rows >= order.limit,
        "bytes": size >= MAX_BYTES,
        "time": asyncio.get_running_loop().time() >= ends_at_s,
        RESTARTING: order.state.doors.closing.is_set(),
    }
    return next((reason for reason, is_reached in limits.items() if is_reached), "")


async def _page(state: State, tree: Tree, format_: Format, start: int | None, limit: int) -> Found:
    limit, with_names = min(limit, PAGE_ROWS), format_.with_names
    return await by_id(state.database, tree, start, limit, with_names=with_names)
