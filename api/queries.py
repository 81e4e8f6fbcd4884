"""Query: single killmails, lists by keyset cursor, and the feed."""

from base64 import b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ariadne import QueryType
from graphql import GraphQLResolveInfo

from api import reads
from api.errors import BadInput
from api.position import check_after
from api.reads import Position
from api.scalars import write_long
from api.state import State
from api.view import View

MAX_KILLMAILS: Final = 200
MAX_ENTRIES: Final = 1_000

QUERY: Final = QueryType()


@QUERY.field("killmail")
async def resolve_killmail(_: None, info: GraphQLResolveInfo[State], id: int) -> View | None:  # noqa: A002
    """Give one killmail, or None."""
    return await reads.killmail(info.context.database, id, named=_named(info))


@QUERY.field("killmails")
async def resolve_killmails(
    _: None, info: GraphQLResolveInfo[State], first: int, after: str | None = None
) -> dict[str, Any]:
    """Give a page, newest first."""
    _check("first", first, MAX_KILLMAILS)
    position = read_cursor(after) if after is not None else None
    views = await reads.newest(info.context.database, position, first + 1, named=_named(info))
    page = views[:first]
    return {
        "nodes": page,
        "edges": [{"cursor": write_cursor(view), "node": view} for view in page],
        "pageInfo": {
            "hasNextPage": len(views) > first,
            "endCursor": write_cursor(page[-1]) if page else None,
        },
    }


@QUERY.field("feed")
async def resolve_feed(
    _: None, info: GraphQLResolveInfo[State], after: int, first: int
) -> dict[str, Any]:
    """Give the entries that follow a sequence."""
    _check("first", first, MAX_ENTRIES)
    await check_after(info.context, after)
    database = info.context.database
    last = await reads.last_sequence(database)
    entries = await reads.feed_page(database, after, first, upto=last, named=_named(info))
    return {"entries": entries, "lastSequence": last}


def write_cursor(view: View) -> str:
    """Write the place of a killmail in the order of `killmails`. Opaque to clients."""
    since = view.killmail.killmail_time - _EPOCH
    text = f"{since // _MICROSECOND}:{view.entry.killmail_id}"
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Position:
    """Read what `write_cursor` wrote.

    Raises:
        BadInput: it isn't one.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = b64decode(padded, altchars=b"-_", validate=True).decode()
        time_us, killmail_id = map(int, text.split(":"))
        return Position(_EPOCH + time_us * _MICROSECOND, write_long(killmail_id))
    except (ValueError, OverflowError):
        raise BadInput("after: not a cursor; take endCursor of the page before") from None


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _check(name: str, value: int, limit: int) -> None:
    if not 1 <= value <= limit:
        raise BadInput(f"{name}: must be 1 to {limit}, not {value}")


def _named(info: GraphQLResolveInfo[State]) -> bool:
    """Tell whether names may be asked for: a document that never says Name needs none read."""
    location = info.field_nodes[0].loc
    return location is None or "Name" in location.source.body
