"""Read the characters that logged in, and change what an operator decides of them."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import reading
from actors.shared.errors import KillstreamError
from actors.shared.tables import USERS
from actors.users.listing import select_users
from deploy.cli.queues import age
from deploy.shorten import printable


class User(msgspec.Struct, frozen=True):
    """One character."""

    character_id: int
    character_name: str
    state: str
    is_premium: bool
    last_sync_at: datetime | None
    next_sync_at: datetime | None
    """None: it isn't scheduled."""
    reason: str | None
    """Why the login ended, else the last sync's error."""


class UserListing(msgspec.Struct, frozen=True):
    """The first of the selected characters, and how many there are by state."""

    states: dict[str, int]
    users: list[User]


async def list_users(
    database: AsyncEngine, name: str, state: str | None, premium: bool, limit: int
) -> UserListing:
    """Read the selected characters, by name."""
    query = select_users(name, state, premium or None)
    found = query.order_by(None).subquery()
    counts = select(found.c.state, func.count()).group_by(found.c.state)
    async with reading(database) as connection:
        states = {row[0]: row[1] for row in await connection.execute(counts)}
        rows = (await connection.execute(query.limit(limit))).all()
    return UserListing(dict(sorted(states.items())), [_user(row) for row in rows])


def _user(row: Any) -> User:
    is_active = row.state == "active"
    return User(
        character_id=row.character_id,
        character_name=row.character_name,
        state=row.state,
        is_premium=row.is_premium,
        last_sync_at=row.last_killmail_sync_at,
        next_sync_at=row.next_sync_at if is_active else None,
        reason=row.last_sync_error if is_active else row.state_reason,
    )


async def set_premium(
    database: AsyncEngine, character_id: int, *, is_premium: bool
) -> tuple[str, bool]:
    """Set whether a character is a premium user; return its name, and whether this changed it.

    Raises:
        KillstreamError: the character never logged in.
    """
    is_character = USERS.c.character_id == character_id
    async with database.begin() as connection:
        changed = await connection.execute(
            update(USERS)
            .where(is_character, USERS.c.is_premium != is_premium)
            .values(is_premium=is_premium)
        )
        name = await connection.scalar(select(USERS.c.character_name).where(is_character))
    if name is None:
        raise KillstreamError(
            f"no character {character_id} has logged in: `killstream users list` has all"
        )
    return printable(name), bool(changed.rowcount)


def table(listing: UserListing) -> Table:
    """Build the table: one row for each character, and the counts below."""
    now = datetime.now(UTC)
    drawn = Table(box=None, caption=_caption(listing), caption_justify="left")
    for column in ("character", "name", "state", "last sync", "next sync", "reason"):
        folds = column in ("name", "reason")
        drawn.add_column(column, overflow="fold" if folds else "ignore", no_wrap=not folds)
    for user in listing.users:
        drawn.add_row(
            str(user.character_id),
            Text(printable(user.character_name)),
            f"{user.state}, premium" if user.is_premium else user.state,
            _ago(user.last_sync_at, now),
            _until(user.next_sync_at, now),
            Text(printable(user.reason or "")),
        )
    return drawn


def _caption(listing: UserListing) -> Text:
    counts = ", ".join(f"{count:,} {state}" for state, count in listing.states.items())
    total, shown = sum(listing.states.values()), len(listing.users)
    more = f"; {total - shown:,} more with --limit" if total > shown else ""
    return Text(f"{counts or 'no characters'}{more}")


def _ago(at: datetime | None, now: datetime) -> str:
    return "never" if at is None else f"{age(max(0.0, (now - at).total_seconds()))} ago"


def _until(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "none"
    left_s = (at - now).total_seconds()
    return f"in {age(left_s)}" if left_s > 0 else "now"
