"""Sessions of accounts: browsers' cookies, programs' bearer tokens, and API keys."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.database import reading
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


async def open_session(
    connection: AsyncConnection, account_id: str, kind: Kind, name: str | None = None
) -> str:
    """Create a session in the caller's transaction; return its token, which isn't stored."""
    token, now = new_secret(), datetime.now(UTC)
    await connection.execute(
        insert(SESSIONS).values(
            token_hash=hash_of(token),
            account_id=account_id,
            kind=kind,
            name=name,
            created_at=now,
            expires_at=None if kind == "api_key" else now + LIFETIME,
            used_at=now,
        )
    )
    return token


async def find_session(database: AsyncEngine, token: str) -> Session | None:
    """Return the session of a token; None when it is unknown, closed or expired."""
    now = datetime.now(UTC)
    query = select(SESSIONS).where(
        SESSIONS.c.token_hash == hash_of(token),
        or_(SESSIONS.c.expires_at.is_(None), SESSIONS.c.expires_at > now),
    )
    async with reading(database) as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    if row.used_at < now - USED_EVERY:
        async with database.begin() as connection:
            await connection.execute(
                update(SESSIONS).where(SESSIONS.c.token_hash == row.token_hash).values(used_at=now)
            )
    return Session(row.token_hash, row.account_id, row.kind, row.expires_at)


async def renew_session(database: AsyncEngine, session: Session) -> str | None:
    """Replace a session's token; None when it was closed or renewed meanwhile."""
    async with database.begin() as connection:
        if not await _close(connection, session.token_hash):
            return None
        return await open_session(connection, session.account_id, session.kind)


async def close_session(database: AsyncEngine, session: Session) -> None:
    """End a session; does nothing when it has ended."""
    async with database.begin() as connection:
        await _close(connection, session.token_hash)


async def _close(connection: AsyncConnection, token_hash: str) -> bool:
    closed = await connection.execute(delete(SESSIONS).where(SESSIONS.c.token_hash == token_hash))
    return closed.rowcount > 0


async def delete_expired(database: AsyncEngine) -> int:
    """Delete expired sessions; return how many."""
    async with database.begin() as connection:
        expired = SESSIONS.c.expires_at < datetime.now(UTC)
        return (await connection.execute(delete(SESSIONS).where(expired))).rowcount
