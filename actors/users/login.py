"""Log a character in: begin at EVE's SSO, and complete with the code of its callback."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import structlog
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.errors import Invalid
from actors.shared.tables import ACCOUNTS, LOGIN_STATES, TOKENS, USERS
from actors.users.forget import delete_empty_account, forget_character
from actors.users.secrets import hash_of, new_secret
from actors.users.sso import Tokens
from actors.users.tokens import ACTIVE, Keeper

log: Final = structlog.get_logger()

STATE_LIFETIME: Final = timedelta(minutes=10)
"""How long a user may take at EVE's pages."""
READ_KILLMAILS: Final = "esi-killmails.read_killmails.v1"
READ_CORPORATION_KILLMAILS: Final = "esi-killmails.read_corporation_killmails.v1"
READ_ROLES: Final = "esi-characters.read_corporation_roles.v1"
SCOPES: Final = {
    "character": (READ_KILLMAILS,),
    "corporation": (READ_CORPORATION_KILLMAILS, READ_ROLES),
}
"""ESI's scopes by what a user chooses."""


class InvalidState(Invalid):
    """The state of a callback is unknown, used or expired."""


class ForeignState(InvalidState):
    """The state of a callback is valid, and of a login that another client began."""


@dataclass(frozen=True)
class Begun:
    """A login that was begun."""

    url: str = field(repr=False)
    """EVE's page, where the user consents."""
    state: str = field(repr=False)


@dataclass(frozen=True)
class LoggedIn:
    """A login that was completed."""

    account_id: str
    character_id: int


def esi_scopes(chosen: Iterable[str]) -> list[str]:
    """List ESI's scopes for what a user chose: `character`, `corporation`, or both.

    Raises:
        Invalid: the choice is empty or has another value.
    """
    names = list(dict.fromkeys(chosen))
    unknown = [name for name in names if name not in SCOPES]
    if unknown or not names:
        raise Invalid(
            f"scopes: choose from {', '.join(SCOPES)}, not {', '.join(unknown) or 'none'}"
        )
    return [scope for name in names for scope in SCOPES[name]]


async def begin_login(
    keeper: Keeper, scopes: list[str], client_secret: str, account_id: str | None = None
) -> Begun:
    """Record a login and return EVE's page for it.

    Args:
        keeper: Database, vault and SSO.
        scopes: ESI's scopes to request.
        client_secret: A secret of the client that begins the login; it must complete it, too.
        account_id: The account to add the character to; None for the character's own.

    Raises:
        SsoUnavailable: EVE's SSO can't be reached.
    """
    state, verifier = new_secret(), new_secret()
    url = await keeper.sso.authorization_url(state, verifier, scopes)
    now = datetime.now(UTC)
    async with keeper.database.begin() as connection:
        await connection.execute(delete(LOGIN_STATES).where(LOGIN_STATES.c.expires_at < now))
        await connection.execute(
            insert(LOGIN_STATES).values(
                state_hash=hash_of(state),
                client_hash=hash_of(client_secret),
                verifier=keeper.vault.encrypt(verifier),
                account_id=account_id,
                expires_at=now + STATE_LIFETIME,
            )
        )
    return Begun(url, state)


async def complete_login(
    keeper: Keeper, code: str, state: str, client_secret: str, account_id: str | None = None
) -> LoggedIn:
    """Exchange the code of a callback, and store the user with its tokens.

    The first sync of the character becomes due at once. A character that was sold is taken from
    its former account, with all that the former owner's logins brought.

    Args:
        keeper: database, vault and SSO.
        code: EVE's.
        state: of the login.
        client_secret: The secret with which the login was begun.
        account_id: the account of who completes the login. The character is added to it if the
            same account began the login; somebody else may have logged out or in meanwhile.

    Raises:
        ForeignState: another client began the login; it stays valid for that one.
        InvalidState: the state is unknown, used or expired.
        LoginRequired: EVE refuses the code.
        SsoUnavailable: EVE's SSO can't be reached; the user has to begin again.
    """
    begun = await _take_state(keeper.database, state, client_secret)
    tokens = await keeper.sso.exchange(code, keeper.vault.decrypt(begun.verifier))
    async with keeper.database.begin() as connection:
        added_to = begun.account_id if begun.account_id == account_id else None
        account_id = await _store_user(connection, tokens, added_to)
        await _store_tokens(connection, keeper, tokens)
    claims = tokens.claims
    log.info("user.logged_in", character_id=claims.character_id)
    return LoggedIn(account_id, claims.character_id)


async def _take_state(database: AsyncEngine, state: str, client_secret: str) -> Any:
    """Delete the state of a login, so that it is used once, and return its row."""
    of_state, now = LOGIN_STATES.c.state_hash == hash_of(state), datetime.now(UTC)
    async with database.begin() as connection:
        taken = (
            await connection.execute(
                delete(LOGIN_STATES)
                .where(
                    of_state,
                    LOGIN_STATES.c.client_hash == hash_of(client_secret),
                    LOGIN_STATES.c.expires_at > now,
                )
                .returning(LOGIN_STATES.c.verifier, LOGIN_STATES.c.account_id)
            )
        ).one_or_none()
        if taken is not None:
            return taken
        is_foreign = await connection.scalar(
            select(LOGIN_STATES.c.expires_at > now).where(
                of_state, LOGIN_STATES.c.client_hash != hash_of(client_secret)
            )
        )
    if is_foreign:
        raise ForeignState("another browser or program began this login")
    raise InvalidState("this login is unknown, was used, or took too long")


async def _store_user(connection: AsyncConnection, tokens: Tokens, account_id: str | None) -> str:
    """Insert or update the user; return its account."""
    claims, now = tokens.claims, datetime.now(UTC)
    of_character = USERS.c.character_id == claims.character_id
    known = (
        await connection.execute(select(USERS).where(of_character).with_for_update())
    ).one_or_none()
    if known is not None and known.owner_hash != claims.owner_hash:
        log.warning("user.sold", character_id=claims.character_id)
        await forget_character(connection, claims.character_id)
        known = None
    syncs_corporation = READ_CORPORATION_KILLMAILS in claims.scopes
    values: dict[str, Any] = {
        "character_name": claims.character_name,
        "scopes": " ".join(sorted(claims.scopes)),
        "state": ACTIVE,
        "state_reason": None,
        "logged_in_at": now,
        "expires_at": claims.expires_at,
        "next_sync_at": now if READ_KILLMAILS in claims.scopes else None,
        "sync_corporation": syncs_corporation,
        "next_enrollment_at": now if syncs_corporation else None,
    }
    if known is None:
        account_id = await _existing(connection, account_id) or await _create(connection, now)
        values |= {"character_id": claims.character_id, "owner_hash": claims.owner_hash}
        values |= {"account_id": account_id, "created_at": now}
        await connection.execute(insert(USERS).values(values))
        return account_id
    values["account_id"] = await _existing(connection, account_id) or known.account_id
    await connection.execute(update(USERS).where(of_character).values(values))
    if known.account_id != values["account_id"]:
        await delete_empty_account(connection, known.account_id)
    return str(values["account_id"])


async def _existing(connection: AsyncConnection, account_id: str | None) -> str | None:
    """Return the account unless it was deleted meanwhile."""
    known: str | None = await connection.scalar(
        select(ACCOUNTS.c.account_id).where(ACCOUNTS.c.account_id == account_id).with_for_update()
    )
    return known


async def _create(connection: AsyncConnection, now: datetime) -> str:
    account_id = uuid4().hex
    await connection.execute(insert(ACCOUNTS).values(account_id=account_id, created_at=now))
    return account_id


async def _store_tokens(connection: AsyncConnection, keeper: Keeper, tokens: Tokens) -> None:
    refresh = tokens.refresh_token
    character_id = tokens.claims.character_id
    await connection.execute(delete(TOKENS).where(TOKENS.c.character_id == character_id))
    await connection.execute(
        insert(TOKENS).values(
            character_id=character_id,
            access_token=keeper.vault.encrypt(tokens.access_token),
            refresh_token=None if refresh is None else keeper.vault.encrypt(refresh),
            updated_at=datetime.now(UTC),
        )
    )
