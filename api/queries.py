"""Query: single killmails, lists by keyset cursor, and the feed."""

from base64 import b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ariadne import QueryType

from actors.shared.finding.tree import EVERYTHING, Tree
from api import reads
from api.context import Info
from api.errors import BadInput, ClientError
from api.filter import tree_of
from api.position import check_after
from api.reads import Position
from api.scalars import serialize_long
from api.view import View

MAX_KILLMAILS: Final = 200
MAX_ENTRIES: Final = 1_000

QUERY: Final = QueryType()


@QUERY.field("killmail")
async def resolve_killmail(_: None, info: Info, id: int) -> View | None:  # noqa: A002
    """Return one killmail, or None when it isn't stored."""
    return await reads.killmail(info.context.state.database, id, with_names=reads_names(info))


@QUERY.field("killmails")
async def resolve_killmails(
    _: None,
    info: Info,
    first: int,
    after: str | None = None,
    filter: dict[str, Any] | None = None,  # noqa: A002 # GraphQL's name
) -> dict[str, Any]:
    """Return a page of killmails, newest first."""
    _check("first", first, MAX_KILLMAILS)
    tree = tree_of(filter or {})
    if tree != EVERYTHING:
        start = decode_start(after) if after is not None else None
        return await _matching(info, tree, first, start)
    position = decode_cursor(after) if after is not None else None
    views = await reads.newest(
        info.context.state.database, position, first + 1, with_names=reads_names(info)
    )
    page = views[:first]
    return {
        "nodes": page,
        "edges": [{"cursor": encode_cursor(view), "node": view} for view in page],
        "pageInfo": {
            "hasNextPage": len(views) > first,
            "endCursor": encode_cursor(page[-1]) if page else None,
        },
        "complete": True,
    }


async def _matching(info: Info, tree: Tree, first: int, start: int | None) -> dict[str, Any]:
    try:
        page = await reads.find(
            info.context.state.database, tree, start, first, with_names=reads_names(info)
        )
    except reads.UniverseUnknown:
        raise ClientError("UNIVERSE_UNKNOWN", _NO_UNIVERSE) from None
    return {
        "nodes": page.views,
        "edges": [
            {"cursor": encode_start(view.entry.killmail_id - 1), "node": view}
            for view in page.views
        ],
        "pageInfo": {
            "hasNextPage": page.searched_to is not None,
            "endCursor": None if page.searched_to is None else encode_start(page.searched_to),
        },
        "complete": page.complete,
    }


@QUERY.field("feed")
async def resolve_feed(_: None, info: Info, after: int, first: int) -> dict[str, Any]:
    """Return the feed's entries after a sequence."""
    _check("first", first, MAX_ENTRIES)
    await check_after(info.context.state, after)
    database = info.context.state.database
    last = await reads.last_sequence(database)
    entries = await reads.feed_page(
        database, after, first, up_to=last, with_names=reads_names(info)
    )
    return {"entries": entries, "lastSequence": last}


def encode_cursor(view: View) -> str:
    """Encode a killmail's position in the order of `killmails`; opaque to clients."""
    since = view.killmail.killmail_time - _EPOCH
    return _encode(f"{since // _MICROSECOND}:{view.entry.killmail_id}")


def decode_cursor(cursor: str) -> Position:
    """Decode a cursor of `encode_cursor`.

    Raises:
        BadInput: the text isn't a cursor.
    """
    try:
        time_us, killmail_id = map(int, _decode(cursor).split(":"))
        return Position(_EPOCH + time_us * _MICROSECOND, serialize_long(killmail_id))
    except (ValueError, OverflowError):
        raise BadInput(_NO_CURSOR) from None


def encode_start(killmail_id: int) -> str:
    """Encode the id at which a search goes on; opaque to clients."""
    return _encode(f"{_START}{killmail_id}")


def decode_start(cursor: str) -> int:
    """Decode a cursor of `encode_start`.

    Raises:
        BadInput: the text isn't a cursor.
    """
    try:
        text = _decode(cursor)
        if text.startswith(_START):
            start: int = serialize_long(int(text.removeprefix(_START)))
            return start
    except ValueError:
        pass
    raise BadInput(_NO_CURSOR)


def _encode(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    padded = cursor + "=" * (-len(cursor) % 4)
    return b64decode(padded, altchars=b"-_", validate=True).decode()


_NO_UNIVERSE: Final = (
    "filter: regions, constellations, bands and groups aren't known yet: the static universe is"
    " being loaded; try again in some minutes"
)
_START: Final = "id:"
_NO_CURSOR: Final = "after: not a cursor; use endCursor of the previous page of the same filter"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _check(name: str, value: int, limit: int) -> None:
    if not 1 <= value <= limit:
        raise BadInput(f"{name}: must be 1 to {limit}, not {value}")


def reads_names(info: Info) -> bool:
    """Return whether the document may select names: without `Name` in its text it doesn't."""
    location = info.field_nodes[0].loc
    return location is None or "Name" in location.source.body
