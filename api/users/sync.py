"""The syncs of a user's characters and corporations: their state, and their immediate start."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any, Final

from sqlalchemy import Select, func, or_, select, update

from actors.shared.tables import CORPORATION_SYNCS, USERS
from actors.sync.run import EVERY
from api.context import Info
from api.errors import ClientError
from api.state import writing
from api.users.bindings import (
    MUTATION,
    SYNC_STATUS,
    USER_QUERY,
    own_character,
    own_characters,
)

WAIT_S: Final = 20.0
"""Longest time that a client waits for its syncs."""
POLL_S: Final = 1.0
"""Interval at which the database is read for their end."""


@dataclass(frozen=True)
class Status:
    """The state of the sync of a character or of a corporation."""

    row: Any
    state: str
    reason: str | None
    corporation_id: int | None = None
    others_synced_at: datetime | None = None
    """When the corporation was last synchronized with another director's token."""


@USER_QUERY.field("syncStatus")
async def resolve_status(_: None, info: Info) -> list[Status]:
    """List the syncs of all characters."""
    return await _statuses(info, await own_characters(info))


@MUTATION.field("syncMyKillmails")
async def resolve_sync(
    _: None,
    info: Info,
    input: dict[str, Any] | None = None,  # noqa: A002 # GraphQL's name
) -> dict[str, Any]:
    """Start the syncs now, and wait for their end."""
    wanted = input or {}
    of = wanted.get("character_id")
    characters = await own_characters(info) if of is None else [await own_character(info, of)]
    if not characters:
        raise ClientError("NOT_FOUND", "your account has no character: log in with one")
    with _one_at_a_time(info):
        return await _sync(info, characters, is_full=bool(wanted.get("full")))


@contextmanager
def _one_at_a_time(info: Info) -> Iterator[None]:
    """Refuse a call while the account waits for another one.

    Raises:
        ClientError: RATE_LIMITED.
    """
    account_id, syncing = info.context.viewer.account_id, info.context.state.users.syncing
    if account_id in syncing:
        raise ClientError(
            "RATE_LIMITED",
            "your account is already waiting for a sync: read syncStatus",
            retryAfterSeconds=ceil(WAIT_S),
        )
    syncing.add(account_id)
    try:
        yield
    finally:
        syncing.discard(account_id)


async def _sync(info: Info, characters: Sequence[Any], *, is_full: bool) -> dict[str, Any]:
    """Start the syncs of characters, and wait for their end, up to `WAIT_S`."""
    asked_at = datetime.now(UTC)
    await _make_due(info, [one["character_id"] for one in characters], asked_at, is_full)
    deadline_s = asyncio.get_running_loop().time() + WAIT_S
    while True:
        statuses = await _statuses(info, characters)
        pending = [s for s in statuses if _is_pending(s, asked_at)]
        if not pending or asyncio.get_running_loop().time() >= deadline_s:
            return _result(statuses, pending, asked_at)
        await asyncio.sleep(POLL_S)


async def _make_due(
    info: Info, character_ids: Sequence[int], now: datetime, full: bool | None
) -> None:
    """Schedule the syncs for now, except those that ESI refused or that wait after an error."""
    values: dict[str, Any] = {"next_sync_at": now, "last_sync_error": None}
    if full:
        values["next_full_sync_at"] = now
    async with writing(info.context.state) as connection:
        for table in (USERS, CORPORATION_SYNCS):
            await connection.execute(
                update(table)
                .where(
                    table.c.character_id.in_(character_ids),
                    table.c.state == "active",
                    table.c.next_sync_at.is_not(None),
                    or_(table.c.last_sync_error.is_(None), table.c.next_sync_at <= now),
                )
                .values(values)
            )


async def _statuses(info: Info, characters: Sequence[Any]) -> list[Status]:
    """Read the state of the syncs of characters and of their corporations."""
    database = info.context.state.database
    ids = [one["character_id"] for one in characters]
    users = await database.fetch_all(
        select(USERS).where(USERS.c.character_id.in_(ids)).order_by(USERS.c.character_id)
    )
    by_id = {row["character_id"]: row for row in users}
    return [
        *(Status(row, row["state"], row["state_reason"]) for row in users),
        *(
            _corporation_status(row, by_id[row["character_id"]])
            for row in await database.fetch_all(_corporations(ids))
            if row["character_id"] in by_id
        ),
    ]


def _corporation_status(row: Any, user: Any) -> Status:
    """Return the status of a corporation's sync, which needs the character's token and consent."""
    state, reason = row["state"], row["state_reason"]
    if not user["sync_corporation"]:
        state = "off"
    elif user["state"] != "active":
        state, reason = user["state"], user["state_reason"]
    return Status(row, state, reason, row["corporation_id"], row["others_synced_at"])


def _corporations(character_ids: Sequence[int]) -> Select[Any]:
    table, other = CORPORATION_SYNCS, CORPORATION_SYNCS.alias()
    others_synced_at = (
        select(func.max(other.c.last_killmail_sync_at))
        .where(
            other.c.corporation_id == table.c.corporation_id,
            other.c.character_id != table.c.character_id,
        )
        .scalar_subquery()
    )
    return (
        select(table, others_synced_at.label("others_synced_at"))
        .where(table.c.character_id.in_(character_ids))
        .order_by(table.c.corporation_id, table.c.character_id)
    )


def _is_pending(status: Status, asked_at: datetime) -> bool:
    """Return whether a sync hasn't ended yet; one that became due has no last error."""
    row = status.row
    ended = _succeeded(status, asked_at) or (
        row["last_sync_error"] is not None and row["sync_started_at"] is None
    )
    return status.state == "active" and row["next_sync_at"] is not None and not ended


def _succeeded(status: Status, asked_at: datetime) -> bool:
    others = status.others_synced_at
    # Another director's sync reads the same list, so this one isn't started.
    return _ran(status, asked_at) or (others is not None and others > asked_at - EVERY)


def _ran(status: Status, asked_at: datetime) -> bool:
    synced_at = status.row["last_killmail_sync_at"]
    return synced_at is not None and bool(synced_at >= asked_at)


def _result(
    statuses: Sequence[Status], pending: Sequence[Status], asked_at: datetime
) -> dict[str, Any]:
    done = [s for s in statuses if _succeeded(s, asked_at)]
    failed = [s for s in statuses if s not in done and s not in pending and _is_wanted(s)]
    count = sum(s.row["last_sync_count"] or 0 for s in done if _ran(s, asked_at))
    return {
        "success": not failed and not pending,
        "message": _message(failed, pending, count),
        "syncedCount": count,
    }


def _is_wanted(status: Status) -> bool:
    """Return whether a sync should run: the user wants it, and the character has the right."""
    if status.corporation_id is not None:
        return status.state == "active"
    never_scheduled = status.row["next_sync_at"] is None and status.row["last_sync_error"] is None
    return status.state != "active" or not never_scheduled


def _message(failed: Sequence[Status], pending: Sequence[Status], count: int) -> str:
    if failed:
        return f"failed: {_failure(failed[0])}"
    if pending:
        return "the sync goes on: read syncStatus"
    return f"synchronized: {count} new"


def _failure(status: Status) -> str:
    row = status.row
    reason = str(row["last_sync_error"] or status.reason or status.state)
    if row["next_sync_at"] is None or row["next_sync_at"] <= datetime.now(UTC):
        return reason
    return f"{reason}; the next try is at {row['next_sync_at']:%H:%M:%S} UTC"


SYNC_STATUS.set_field("characterId", lambda status, _info: status.row["character_id"])
SYNC_STATUS.set_field("corporationId", lambda status, _info: status.corporation_id)
SYNC_STATUS.set_field("state", lambda status, _info: status.state)
SYNC_STATUS.set_field("reason", lambda status, _info: status.reason)
SYNC_STATUS.set_field("sync", lambda status, _info: status.row)
