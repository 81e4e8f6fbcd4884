"""Sessions of accounts: browsers' cookies, programs' bearer tokens, and API keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Select, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.tables import SESSIONS
from actors.users.secrets import hash_of, new_secret

Kind = Literal["browser", "bearer", "api_key"]

LIFETIME: Final = timedelta(days=30)
"""Of a session since its last renewal; an API key has no end."""
USED_EVERY: Final = timedelta(minutes=10)
"""How exactly `used_at` is known."""


@dataclass(frozen=True)
class Session:
    """A valid session. It has no secret."""

    token_hash: str
    account_id: str
    kind: Kind
    expires_at: datetime | None
    used_at: datetime


@dataclass(frozen=True)
class Opened:
    """A session that was created. The database knows its token only by its hash."""

    token: str = field(repr=False)
    expires_at: datetime | None


async def open_session(
    connection: AsyncConnection, account_id: str, kind: Kind, name: str | None = None
) -> Opened:
    """Create a session in the caller's transaction; deletes expired ones."""
    token, now = new_secret(), datetime.now(UTC)
    expires_at = None if kind == "api_key" else now + LIFETIME
    await connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_at < now))
    await connection.execute(
        insert(SESSIONS).values(
            token_hash=hash_of(token),
            account_id=account_id,
            kind=kind,
            name=name,
            created_at=now,
            expires_at=expires_at,
            used_at=now,
        )
    )
    return Opened(token, expires_at)


def session_query(token: str) -> Select[Any]:
    """Build the query for the session of a token; no row when it is unknown, closed or expired."""
    return select(SESSIONS).where(
        SESSIONS.c.token_hash == hash_of(token),
        or_(SESSIONS.c.expires_at.is_(None), SESSIONS.c.expires_at > datetime.now(UTC)),
    )


def session_of(row: Mapping[str, Any]) -> Session:
    """Make a session from a row of `session_query`."""
    return Session(
        token_hash=row["token_hash"],
        account_id=row["account_id"],
        kind=row["kind"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
    )


def is_used_anew(session: Session) -> bool:
    """Tell whether the use of a session is to be recorded: at most once in `USED_EVERY`."""
    return session.used_at < datetime.now(UTC) - USED_EVERY


async def touch_session(connection: AsyncConnection, session: Session) -> None:
    """Record that a session is used, unless somebody did so within `USED_EVERY`."""
    now = datetime.now(UTC)
    await connection.execute(
        update(SESSIONS)
        .where(SESSIONS.c.token_hash == session.token_hash, SESSIONS.c.used_at < now - USED_EVERY)
        .values(used_at=now)
    )


async def renew_session(connection: AsyncConnection, session: Session) -> Opened | None:
    """Replace a session's token; None if it was closed or renewed meanwhile."""
    if not await close_session(connection, session.token_hash):
        return None
    return await open_session(connection, session.account_id, session.kind)


async def close_session(connection: AsyncConnection, token_hash: str) -> bool:
    """End a session; False when it had ended before."""
    closed = await connection.execute(delete(SESSIONS).where(SESSIONS.c.token_hash == token_hash))
    return closed.rowcount > 0
