"""The killmails of one's own characters, those included whose publication is delayed."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Select, exists, literal, select, tuple_

from actors.shared.feed import Entry
from actors.shared.reference import decode_reference
from actors.shared.tables import DELAYED, KILLMAILS, USER_KILLMAILS, Utc
from api import reads
from api.context import Info
from api.database import ReadDatabase
from api.errors import BadInput
from api.queries import reads_names
from api.reads import Position
from api.static_data import StaticData
from api.users.bindings import USER_QUERY, own_character, own_characters
from api.view import View

MAX_KILLMAILS: Final = 200
PAGE: Final = 200
"""Bodies in one read where each has to be looked into for the victim."""

Filter = dict[str, Any]


@USER_QUERY.field("myKillmails")
async def resolve_killmails(
    _: None,
    info: Info,
    limit: int,
    filter: Filter | None = None,  # noqa: A002 # GraphQL's name
) -> Sequence[View]:
    """Return killmails, newest first."""
    if not 1 <= limit <= MAX_KILLMAILS:
        raise BadInput(f"limit: must be 1 to {MAX_KILLMAILS}, not {limit}")
    wanted = filter or {}
    own = {one["character_id"] for one in await own_characters(info)}
    of = wanted.get("character_id")
    chosen = own if of is None else {(await own_character(info, of))["character_id"]}
    database, with_names = info.context.state.database, reads_names(info)
    # Delayed ones first: what is published between the two reads comes twice, and is never missed.
    delayed = await _delayed(database, chosen, own, wanted, limit)
    stored = await reads.matching(
        database, _stored(chosen, own, wanted), limit, with_names=with_names
    )
    public = {view.entry.killmail_id for view in stored}
    hidden = [view for view in delayed if view.entry.killmail_id not in public]
    views = sorted([*stored, *hidden], key=_age, reverse=True)[:limit]
    return await reads.add_names(database, views) if with_names and hidden else views


def _stored(chosen: set[int], own: set[int], wanted: Filter) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = KILLMAILS.c.killmail_id.in_(
        select(USER_KILLMAILS.c.killmail_id).where(USER_KILLMAILS.c.character_id.in_(chosen))
    )
    for in_time in _in_time(KILLMAILS.c.killmail_time, wanted):
        condition &= in_time
    victim = KILLMAILS.c.victim_character_id
    if wanted.get("kind") == "loss":
        condition &= victim.in_(own)
    elif wanted.get("kind") == "kill":
        condition &= victim.is_(None) | victim.not_in(own)
    return condition


async def _delayed(
    database: ReadDatabase, chosen: set[int], own: set[int], wanted: Filter, limit: int
) -> list[View]:
    """Read those that aren't public yet, and that no other source made public, newest first."""
    kind = wanted.get("kind")
    page = PAGE if kind else limit
    found: list[View] = []
    after: Position | None = None
    while len(found) < limit:
        rows = await database.fetch_all(_delayed_page(chosen, wanted, after).limit(page))
        found += [
            view for row in rows if _is_of_kind(view := _view(row, database.static), own, kind)
        ]
        if len(rows) < page:
            break
        after = Position(rows[-1]["killmail_time"], rows[-1]["killmail_id"])
    return found[:limit]


def _delayed_page(chosen: set[int], wanted: Filter, after: Position | None) -> Select[Any]:
    of_user = select(USER_KILLMAILS.c.killmail_id).where(USER_KILLMAILS.c.character_id.in_(chosen))
    conditions: list[ColumnElement[bool]] = [
        DELAYED.c.killmail_id.in_(of_user),
        ~exists().where(KILLMAILS.c.killmail_id == DELAYED.c.killmail_id),
        *_in_time(DELAYED.c.killmail_time, wanted),
    ]
    if after:
        order = tuple_(DELAYED.c.killmail_time, DELAYED.c.killmail_id)
        last = literal(after.killmail_time, Utc), literal(after.killmail_id)
        conditions.append(order < tuple_(*last))
    return (
        select(DELAYED)
        .where(*conditions)
        .order_by(DELAYED.c.killmail_time.desc(), DELAYED.c.killmail_id.desc())
    )


def _in_time(time: Column[datetime], wanted: Filter) -> Iterator[ColumnElement[bool]]:
    if since := wanted.get("since"):
        yield time >= since
    if before := wanted.get("before"):
        yield time < before


def _view(row: Any, static: StaticData) -> View:
    reference = decode_reference(row["reference"])
    return View(
        Entry(
            sequence=0,
            kind="",
            killmail_id=reference.killmail_id,
            hash=reference.hash,
            stored_at=0.0,
            killmail=reference.body,
            zkb=reference.zkb,
        ),
        static,
    )


def _is_of_kind(view: View, own: set[int], kind: str | None) -> bool:
    return kind is None or (view.killmail.victim.character_id in own) == (kind == "loss")


def _age(view: View) -> tuple[datetime, int]:
    return view.killmail.killmail_time, view.entry.killmail_id
