"""The killmails of one's own characters, those included whose publication is delayed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, exists, select

from actors.shared.feed import Entry
from actors.shared.reference import decode_reference
from actors.shared.tables import DELAYED, KILLMAILS, USER_KILLMAILS
from api import reads
from api.context import Info
from api.errors import BadInput
from api.queries import reads_names
from api.users.bindings import USER_QUERY, own_character, own_characters
from api.view import View

MAX_KILLMAILS: Final = 200
MAX_DELAYED: Final = 5_000
"""Delayed killmails that one query reads: those of 72 hours."""

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
    stored = await reads.matching(
        database, _stored(chosen, own, wanted), limit, with_names=with_names
    )
    delayed = [
        view
        for row in await database.fetch_all(_delayed(chosen))
        if _matches(view := _view(row), own, wanted)
    ]
    views = sorted([*stored, *delayed], key=_age, reverse=True)[:limit]
    return await reads.add_names(database, views) if with_names and delayed else views


def _stored(chosen: set[int], own: set[int], wanted: Filter) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = KILLMAILS.c.killmail_id.in_(
        select(USER_KILLMAILS.c.killmail_id).where(USER_KILLMAILS.c.character_id.in_(chosen))
    )
    if since := wanted.get("since"):
        condition &= KILLMAILS.c.killmail_time >= since
    if before := wanted.get("before"):
        condition &= KILLMAILS.c.killmail_time < before
    victim = KILLMAILS.c.victim_character_id
    if wanted.get("kind") == "loss":
        condition &= victim.in_(own)
    elif wanted.get("kind") == "kill":
        condition &= victim.is_(None) | victim.not_in(own)
    return condition


def _delayed(chosen: set[int]) -> Any:
    """Build the query for those that aren't public yet, and that no other source made public."""
    return (
        select(DELAYED.c.killmail_id, DELAYED.c.reference)
        .where(
            DELAYED.c.killmail_id.in_(
                select(USER_KILLMAILS.c.killmail_id).where(
                    USER_KILLMAILS.c.character_id.in_(chosen)
                )
            ),
            ~exists().where(KILLMAILS.c.killmail_id == DELAYED.c.killmail_id),
        )
        .order_by(DELAYED.c.killmail_time.desc())
        .limit(MAX_DELAYED)
    )


def _view(row: Any) -> View:
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
        )
    )


def _matches(view: View, own: set[int], wanted: Filter) -> bool:
    killmail, kind = view.killmail, wanted.get("kind")
    since, before = wanted.get("since"), wanted.get("before")
    is_loss = killmail.victim.character_id in own
    return (
        (since is None or killmail.killmail_time >= since)
        and (before is None or killmail.killmail_time < before)
        and (kind is None or is_loss == (kind == "loss"))
    )


def _age(view: View) -> tuple[datetime, int]:
    return view.killmail.killmail_time, view.entry.killmail_id
