"""Delete an account: its characters, sessions and tokens, here and at EVE."""

import asyncio
from typing import Final

import structlog
from sqlalchemy import select

from actors.shared.outage import one_line
from actors.shared.tables import TOKENS, USERS
from actors.users.forget import delete_empty_account, forget_character
from actors.users.tokens import Keeper

log: Final = structlog.get_logger()

REVOKE_S: Final = 5.0
"""How long revoking may take; EVE forgets what isn't used by itself."""


async def delete_account(keeper: Keeper, account_id: str, *, revoke_s: float = REVOKE_S) -> bool:
    """Delete an account with all that belongs to it, then revoke its tokens at EVE.

    Returns:
        Whether EVE revoked all of them. If not they are gone here, and the user can withdraw them
        on EVE's page of third-party applications.
    """
    query = (
        select(USERS.c.character_id, TOKENS.c.refresh_token)
        .outerjoin(TOKENS, TOKENS.c.character_id == USERS.c.character_id)
        .where(USERS.c.account_id == account_id)
        .order_by(USERS.c.character_id)
        .with_for_update(of=USERS)
    )
    async with keeper.database.begin() as connection:
        rows = (await connection.execute(query)).all()
        for row in rows:
            await forget_character(connection, row.character_id)
        await delete_empty_account(connection, account_id)
    encrypted = [row.refresh_token for row in rows if row.refresh_token is not None]
    revoked = await _revoke_all(keeper, encrypted, revoke_s)
    log.info("account.deleted", characters=len(rows), revoked=revoked)
    return revoked


async def _revoke_all(keeper: Keeper, encrypted: list[bytes], revoke_s: float) -> bool:
    """Revoke tokens at once. One that can't be revoked, whatever the reason, stops no other."""
    revoking = (_revoke(keeper, token, revoke_s) for token in encrypted)
    results = await asyncio.gather(*revoking, return_exceptions=True)
    failures = [error for error in results if error is not None]
    for error in failures:
        log.warning("account.revoke_failed", reason=one_line(error))
    return not failures


async def _revoke(keeper: Keeper, encrypted: bytes, revoke_s: float) -> None:
    async with asyncio.timeout(revoke_s):
        await keeper.sso.revoke(keeper.vault.decrypt(encrypted))
