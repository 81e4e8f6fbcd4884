"""Pages of a list that can be walked in both directions, as Relay's connections are defined.

Source: GraphQL Cursor Connections Specification (relay.dev, read 2026-11-27).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from actors.shared.finding.by_value import ValuePosition
from actors.shared.finding.tree import Tree
from api import reads, search
from api.cursors import (
    decode_cursor,
    decode_start,
    decode_value,
    encode_position,
    encode_start,
)
from api.database import ReadDatabase
from api.errors import BadInput
from api.reads import Position
from api.view import View

MAX_FIRST: Final = 200
DEFAULT_FIRST: Final = 50


@dataclass(frozen=True)
class Paging:
    """Which part of a list is wanted."""

    limit: int
    forward: bool
    """Whether it is the first of what the cursors enclose, else the last."""
    after: str | None
    before: str | None


def paging_of(first: int | None, after: str | None, last: int | None, before: str | None) -> Paging:
    """Read the arguments of a connection; without any it is the first 50.

    Raises:
        BadInput: a number is out of range, or both are given.
    """
    if first is not None and last is not None:
        raise BadInput("last: give either first or last")
    for name, value in (("first", first), ("last", last)):
        if value is not None and not 1 <= value <= MAX_FIRST:
            raise BadInput(f"{name}: must be 1 to {MAX_FIRST}, not {value}")
    return Paging(last or first or DEFAULT_FIRST, last is None, after, before)


@dataclass(frozen=True)
class Walked:
    """What was found on a walk through a list, in one of its directions."""

    edges: list[tuple[View, Any]]
    """The killmails in the order of the walk, and the position of each."""
    searched_to: Any
    """The position to which all was searched; None at the end."""
    complete: bool = True
    """Whether all stored killmails can be found."""


class Order(Protocol):
    """An order of killmails, whose positions are written as cursors."""

    def decode(self, cursor: str) -> Any:
        """Read a cursor.

        Raises:
            BadInput: it isn't one of this order.
        """

    def encode(self, position: Any) -> str:
        """Write a cursor."""

    def comes_first(self, position: Any, other: Any) -> bool:
        """Tell whether one position comes before another one."""

    def beside(self, position: Any, forward: bool) -> Any:
        """Return the position from which a walk in this direction meets what is at this one."""

    async def walk(
        self, start: Any, limit: int, *, forward: bool, with_names: bool = False
    ) -> Walked:
        """Find what comes next after a position, or before it; from an end of the list for None."""


@dataclass(frozen=True)
class ByTime:
    """All killmails, newest first."""

    database: ReadDatabase

    def decode(self, cursor: str) -> Position:
        """See `Order`."""
        return decode_cursor(cursor)

    def encode(self, position: Position) -> str:
        """See `Order`."""
        return encode_position(position)

    def comes_first(self, position: Position, other: Position) -> bool:
        """See `Order`."""
        return position > other

    def beside(self, position: Position, forward: bool) -> Position:
        """See `Order`."""
        return position._replace(killmail_id=position.killmail_id + (1 if forward else -1))

    async def walk(
        self, start: Position | None, limit: int, *, forward: bool, with_names: bool = False
    ) -> Walked:
        """See `Order`."""
        views = await reads.by_time(
            self.database, start, limit, newest_first=forward, with_names=with_names
        )
        edges = [(view, reads.position_of(view)) for view in views]
        return Walked(edges, edges[-1][1] if len(views) == limit else None)


@dataclass(frozen=True)
class ById:
    """The killmails that meet conditions, by id, the highest first."""

    database: ReadDatabase
    tree: Tree

    def decode(self, cursor: str) -> int:
        """See `Order`."""
        return decode_start(cursor)

    def encode(self, position: int) -> str:
        """See `Order`."""
        return encode_start(position)

    def comes_first(self, position: int, other: int) -> bool:
        """See `Order`."""
        return position > other

    def beside(self, position: int, forward: bool) -> int:
        """See `Order`."""
        return position + (1 if forward else -1)

    async def walk(
        self, start: int | None, limit: int, *, forward: bool, with_names: bool = False
    ) -> Walked:
        """See `Order`."""
        found = await search.by_id(
            self.database, self.tree, start, limit, newest_first=forward, with_names=with_names
        )
        return Walked(list(found.views), found.searched_to, found.complete)


@dataclass(frozen=True)
class ByValue:
    """The killmails that meet conditions, the most valuable first, those of unknown value last."""

    database: ReadDatabase
    tree: Tree

    def decode(self, cursor: str) -> ValuePosition:
        """See `Order`."""
        return decode_value(cursor)

    def encode(self, position: ValuePosition) -> str:
        """See `Order`."""
        return encode_start(position)

    def comes_first(self, position: ValuePosition, other: ValuePosition) -> bool:
        """See `Order`."""
        return _worth(position) > _worth(other)

    def beside(self, position: ValuePosition, forward: bool) -> ValuePosition:
        """See `Order`."""
        return ValuePosition(position.total_value, position.killmail_id + (1 if forward else -1))

    async def walk(
        self, start: ValuePosition | None, limit: int, *, forward: bool, with_names: bool = False
    ) -> Walked:
        """See `Order`."""
        found = await search.by_value(
            self.database, self.tree, start, limit, highest_first=forward, with_names=with_names
        )
        return Walked(list(found.views), found.searched_to, found.complete)


def _worth(position: ValuePosition) -> tuple[bool, float, int]:
    value = position.total_value
    return value is not None, 0.0 if value is None else value, position.killmail_id


async def connect(order: Order, paging: Paging, *, with_names: bool) -> dict[str, Any]:
    """Read a page; what needs a look beyond it is read when it is selected.

    Raises:
        BadInput: a cursor isn't one of this order.
        DatabaseUnavailable: the database doesn't answer.
    """
    after, before = (
        None if cursor is None else order.decode(cursor) for cursor in (paging.after, paging.before)
    )
    forward = paging.forward
    start, end = (after, before) if forward else (before, after)
    # One more than wanted, which shows that there is more.
    walked = await order.walk(start, paging.limit + 1, forward=forward, with_names=with_names)
    walked = _first_of(_until(order, walked, end, forward), paging.limit)
    ahead = walked.searched_to is not None or _has(order, end, forward)
    sides = (_has(order, start, not forward), ahead)
    edges = [{"cursor": order.encode(position), "node": view} for view, position in walked.edges]
    near = edges[0]["cursor"] if edges else None
    far = edges[-1]["cursor"] if edges else None
    if walked.searched_to is not None:
        far = order.encode(walked.searched_to)
    cursors = (near, far)
    if not forward:
        sides, cursors = sides[::-1], cursors[::-1]
        edges.reverse()
    names = ("hasPreviousPage", "hasNextPage", "startCursor", "endCursor")
    return {
        "nodes": [edge["node"] for edge in edges],
        "edges": edges,
        "pageInfo": dict(zip(names, sides + cursors, strict=True)),
        "complete": walked.complete,
    }


def _until(order: Order, walked: Walked, end: Any, forward: bool) -> Walked:
    """Leave out what lies beyond the position where the wanted part ends."""

    def is_inside(position: Any) -> bool:
        return order.comes_first(position, end) if forward else order.comes_first(end, position)

    if end is None:
        return walked
    to = walked.searched_to
    return Walked(
        [(view, position) for view, position in walked.edges if is_inside(position)],
        to if to is not None and is_inside(to) else None,
        walked.complete,
    )


def _first_of(walked: Walked, limit: int) -> Walked:
    if len(walked.edges) <= limit:
        return walked
    edges = walked.edges[:limit]
    return Walked(edges, edges[-1][1], walked.complete)


def _has(order: Order, position: Any, forward: bool) -> bool | Callable[[Any], Awaitable[bool]]:
    """Tell whether the list has a killmail at a position or beyond it, once that is selected.

    True, too, where the search for one ends unfinished.
    """
    if position is None:
        return False

    async def is_there(_info: Any) -> bool:
        found = await order.walk(order.beside(position, forward), 1, forward=forward)
        return bool(found.edges) or found.searched_to is not None

    return is_there
