"""Forget a character: its tokens, syncs and lists, and the killmails that only it brought."""

from typing import Any, Final

from sqlalchemy import Select, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.tables import (
    ACCOUNTS,
    CORPORATION_SYNCS,
    DELAYED,
    IMPORTS,
    LEDGER,
    SESSIONS,
    TOKENS,
    USER_KILLMAILS,
    USERS,
)
from actors.users.delay import delete_unowned, reschedule

_OF_CHARACTER: Final = (TOKENS, CORPORATION_SYNCS, USER_KILLMAILS, USERS)


async def forget_character(connection: AsyncConnection, character_id: int) -> None:
    """Delete a character's user, tokens, syncs and lists; its account too if it was the last.

    A killmail that only this character brought and that isn't public yet is deleted, too; one that
    others brought as well is published when they want it.
    """
    account_id = await connection.scalar(
        select(USERS.c.account_id).where(USERS.c.character_id == character_id)
    )
    sources = await _own_sources(connection, character_id)
    delayed_ids = (await connection.scalars(_delayed(character_id))).all()
    for table in _OF_CHARACTER:
        await connection.execute(delete(table).where(table.c.character_id == character_id))
    await connection.execute(
        update(IMPORTS).where(IMPORTS.c.requested_by == character_id).values(requested_by=None)
    )
    await delete_unowned(connection)
    await reschedule(connection, delayed_ids)
    await connection.execute(delete(LEDGER).where(LEDGER.c.source.in_(sources)))
    if account_id is not None:
        await delete_empty_account(connection, account_id)


async def delete_empty_account(connection: AsyncConnection, account_id: str) -> None:
    """Delete an account and its sessions when it has no character."""
    await connection.execute(  # a login that adds a character waits, and sees the account gone
        select(ACCOUNTS.c.account_id).where(ACCOUNTS.c.account_id == account_id).with_for_update()
    )
    left = await connection.scalar(
        select(USERS.c.character_id).where(USERS.c.account_id == account_id).limit(1)
    )
    if left is None:
        for table in (SESSIONS, ACCOUNTS):
            await connection.execute(delete(table).where(table.c.account_id == account_id))


def _delayed(character_id: int) -> Select[Any]:
    return (
        select(DELAYED.c.killmail_id)
        .join(USER_KILLMAILS, USER_KILLMAILS.c.killmail_id == DELAYED.c.killmail_id)
        .where(USER_KILLMAILS.c.character_id == character_id)
    )


async def _own_sources(connection: AsyncConnection, character_id: int) -> list[str]:
    """List the sources in the ledger that no other character's token reads."""
    syncs, others = CORPORATION_SYNCS, CORPORATION_SYNCS.alias()
    corporations = await connection.scalars(
        select(syncs.c.corporation_id).where(
            syncs.c.character_id == character_id,
            ~exists().where(
                others.c.corporation_id == syncs.c.corporation_id,
                others.c.character_id != character_id,
            ),
        )
    )
    return [f"esi:character/{character_id}", *(f"esi:corporation/{id_}" for id_ in corporations)]
