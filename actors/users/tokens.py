"""Access tokens of users: read from the database, and refreshed ahead of their expiry.

A refresh token may be valid only once, so a process takes a lease on a character's tokens before it
refreshes them, and stores what EVE answers in one transaction. The lease of a process that died
expires.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
import structlog
from prometheus_client import Counter
from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import reading
from actors.shared.errors import RetryLater
from actors.shared.settings import Settings
from actors.shared.tables import TOKENS, USERS
from actors.users.sso import LoginRequired, Sso, SsoUnavailable, Tokens
from actors.users.vault import Vault, open_vault

log: Final = structlog.get_logger()

REFRESH_AHEAD: Final = timedelta(minutes=2)
"""A token that expires within this time is refreshed; longer than a sync uses one."""
REFRESH_S: Final = 40.0
"""Time limit for all requests of one refresh."""
LEASE: Final = timedelta(seconds=REFRESH_S + 10)
"""How long the tokens are left to the process that refreshes them."""
LEASED_MS: Final = 2_000
"""Delay while another process refreshes the same tokens."""

ACTIVE: Final = "active"
LOGIN_REQUIRED: Final = "login_required"
SOLD: Final = "the character has another owner now"

REFRESHES: Final = Counter(
    "killstream_token_refreshes",
    "Refreshes of users' tokens. `login_required` rises: users revoked the application, or EVE"
    " lost their tokens. `failed` rises: EVE's SSO is down; read the log.",
    ["result"],
)
for _result in ("refreshed", "failed", "login_required"):
    REFRESHES.labels(result=_result)  # so that the first failure is a rise, and not a new series


@dataclass(frozen=True)
class Keeper:
    """What reading and refreshing tokens needs."""

    database: AsyncEngine
    vault: Vault = field(repr=False)
    sso: Sso

    async def access_token(self, character_id: int) -> str:
        """Return a character's access token, valid for at least `REFRESH_AHEAD`.

        Raises:
            LoginRequired: the character has to log in again; its user is marked so.
            RetryLater: EVE's SSO fails, or another process refreshes the tokens.
            Undecryptable, Misconfigured: an operator has to correct a setting.
        """
        row = await self._read(character_id)
        if row is None or row.state != ACTIVE:
            raise LoginRequired((row and row.state_reason) or "the character isn't logged in")
        if row.expires_at is not None and row.expires_at > datetime.now(UTC) + REFRESH_AHEAD:
            return self.vault.decrypt(row.access_token)
        return await self._refresh(row)

    async def _read(self, character_id: int) -> Any:
        query = (
            select(
                USERS.c.character_id,
                USERS.c.owner_hash,
                USERS.c.state,
                USERS.c.state_reason,
                USERS.c.expires_at,
                TOKENS.c.access_token,
                TOKENS.c.refresh_token,
                TOKENS.c.updated_at,
            )
            .join(TOKENS, TOKENS.c.character_id == USERS.c.character_id)
            .where(USERS.c.character_id == character_id)
        )
        async with reading(self.database) as connection:
            return (await connection.execute(query)).one_or_none()

    async def _refresh(self, row: Any) -> str:
        character_id = row.character_id
        if row.refresh_token is None:
            raise await self._require_login(
                character_id, row.updated_at, "EVE gave no refresh token"
            )
        lease = await self._lease(character_id, row.updated_at)
        try:
            async with asyncio.timeout(REFRESH_S):
                tokens = await self.sso.refresh(self.vault.decrypt(row.refresh_token))
        except LoginRequired as error:
            raise await self._require_login(character_id, row.updated_at, str(error)) from None
        except Exception as error:  # raised again; a crash leaves the lease to expire
            REFRESHES.labels(result="failed").inc()
            await self._release(character_id, lease, getattr(error, "refresh_token", None))
            if isinstance(error, TimeoutError):
                raise SsoUnavailable(f"EVE's SSO didn't answer in {REFRESH_S:g} s") from None
            raise
        if (tokens.claims.character_id, tokens.claims.owner_hash) != (character_id, row.owner_hash):
            raise await self._require_login(character_id, row.updated_at, SOLD)
        await self._store(character_id, lease, tokens)
        REFRESHES.labels(result="refreshed").inc()
        return tokens.access_token

    async def _lease(self, character_id: int, read_at: datetime) -> datetime:
        """Take the lease on the tokens that were read; returns its end, which identifies it."""
        now = datetime.now(UTC)
        free = or_(TOKENS.c.refreshing_until.is_(None), TOKENS.c.refreshing_until < now)
        async with self.database.begin() as connection:
            leased = await connection.execute(
                update(TOKENS)
                .where(TOKENS.c.character_id == character_id, TOKENS.c.updated_at == read_at, free)
                .values(refreshing_until=now + LEASE)
            )
        if leased.rowcount == 0:
            raise RetryLater("another process refreshes the tokens", delay_ms=LEASED_MS)
        return now + LEASE

    async def _release(
        self, character_id: int, lease: datetime, rotated: str | None = None
    ) -> None:
        """End the lease; a refresh token that EVE issued meanwhile replaces the stored one."""
        values: dict[str, Any] = {"refreshing_until": None}
        if rotated is not None:
            values |= {
                "refresh_token": self.vault.encrypt(rotated),
                "updated_at": datetime.now(UTC),
            }
        async with self.database.begin() as connection:
            await connection.execute(
                update(TOKENS)
                .where(TOKENS.c.character_id == character_id, TOKENS.c.refreshing_until == lease)
                .values(values)
            )

    async def _store(self, character_id: int, lease: datetime, tokens: Tokens) -> None:
        values: dict[str, Any] = {
            "access_token": self.vault.encrypt(tokens.access_token),
            "refreshing_until": None,
            "updated_at": datetime.now(UTC),
        }
        if tokens.refresh_token is not None:
            values["refresh_token"] = self.vault.encrypt(tokens.refresh_token)
        async with self.database.begin() as connection:
            stored = await connection.execute(
                update(TOKENS)
                .where(TOKENS.c.character_id == character_id, TOKENS.c.refreshing_until == lease)
                .values(values)
            )
            if stored.rowcount == 0:
                raise RetryLater("the tokens were replaced meanwhile", delay_ms=LEASED_MS)
            await connection.execute(
                update(USERS)
                .where(USERS.c.character_id == character_id)
                .values(
                    expires_at=tokens.claims.expires_at,
                    scopes=" ".join(sorted(tokens.claims.scopes)),
                )
            )

    async def _require_login(
        self, character_id: int, read_at: datetime, reason: str
    ) -> LoginRequired | RetryLater:
        """Delete dead tokens, mark their user, and return what to raise.

        A login that replaced the tokens meanwhile stays valid: they are read again then.
        """
        async with self.database.begin() as connection:
            dropped = await connection.execute(
                delete(TOKENS).where(
                    TOKENS.c.character_id == character_id, TOKENS.c.updated_at == read_at
                )
            )
            if not dropped.rowcount:
                return RetryLater("the tokens were replaced meanwhile", delay_ms=LEASED_MS)
            await connection.execute(
                update(USERS)
                .where(USERS.c.character_id == character_id)
                .values(state=LOGIN_REQUIRED, state_reason=reason, next_sync_at=None)
            )
        REFRESHES.labels(result="login_required").inc()
        log.warning("user.login_required", character_id=character_id, reason=reason)
        return LoginRequired(reason)


def open_keeper(
    settings: Settings, database: AsyncEngine, http: aiohttp.ClientSession
) -> Keeper | None:
    """Make the keeper; None while no application of EVE's is configured.

    Raises:
        Misconfigured: there is no key for tokens, or an invalid one.
    """
    if not settings.eve_client_id:
        return None
    return Keeper(database, open_vault(settings), Sso(settings, http))


async def expire_token(database: AsyncEngine, character_id: int) -> None:
    """Have the access token refreshed before its next use, as ESI rejects it."""
    async with database.begin() as connection:
        await connection.execute(
            update(USERS)
            .where(USERS.c.character_id == character_id)
            .values(expires_at=datetime.now(UTC))
        )


async def rotate_keys(database: AsyncEngine, vault: Vault) -> int:
    """Encrypt all tokens with the newest key; return how many. Safe to run again, and meanwhile.

    Raises:
        Undecryptable: a token's key isn't configured any more.
    """
    query = select(TOKENS.c.character_id).order_by(TOKENS.c.character_id)
    async with reading(database) as connection:
        character_ids = (await connection.scalars(query)).all()
    for character_id in character_ids:
        await _rotate(database, vault, character_id)
    return len(character_ids)


async def _rotate(database: AsyncEngine, vault: Vault, character_id: int) -> None:
    of_character = TOKENS.c.character_id == character_id
    async with database.begin() as connection:
        row = (
            await connection.execute(select(TOKENS).where(of_character).with_for_update())
        ).one_or_none()
        if row is not None:
            refresh = row.refresh_token
            await connection.execute(
                update(TOKENS)
                .where(of_character)
                .values(
                    access_token=vault.rotate(row.access_token),
                    refresh_token=None if refresh is None else vault.rotate(refresh),
                )
            )
