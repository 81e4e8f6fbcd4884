"""Settings of a user's characters, and the end of the account."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import update

from actors.shared.errors import Invalid
from actors.shared.tables import USERS
from actors.users.accounts import delete_account
from actors.users.delay import set_publication_delay
from actors.users.login import READ_CORPORATION_KILLMAILS
from api.context import Info
from api.errors import BadInput, ClientError
from api.login.flow import OUTCOMES
from api.state import writing
from api.users.bindings import MUTATION, own_character
from api.users.state import translated_errors


@MUTATION.field("setPublicationDelay")
async def resolve_delay(_: None, info: Info, character_id: int, hours: int) -> Any:
    """Set the publication delay of a character's killmails."""
    info.context.viewer.require_login()
    await own_character(info, character_id)
    try:
        async with writing(info.context.state) as connection:
            await set_publication_delay(connection, character_id, hours)
    except Invalid as error:
        raise BadInput(str(error)) from None
    return await own_character(info, character_id)


@MUTATION.field("setCorporationSync")
async def resolve_corporation_sync(_: None, info: Info, character_id: int, enabled: bool) -> Any:
    """Enable or disable the sync of a character's corporation."""
    info.context.viewer.require_login()
    character = await own_character(info, character_id)
    if enabled and READ_CORPORATION_KILLMAILS not in character["scopes"].split():
        raise ClientError(
            "FORBIDDEN", "EVE didn't grant this: log in again for the scope `corporation`"
        )
    values = {
        "sync_corporation": enabled,
        "next_enrollment_at": datetime.now(UTC) if enabled else None,
    }
    async with writing(info.context.state) as connection:
        await connection.execute(
            update(USERS).where(USERS.c.character_id == character_id).values(values)
        )
    return await own_character(info, character_id)


@MUTATION.field("deleteMyAccount")
async def resolve_delete(_: None, info: Info) -> dict[str, bool]:
    """Delete the account."""
    session = info.context.viewer.require_login()
    keeper = info.context.state.users.keeper
    if keeper is None:  # nothing could be revoked
        disabled = OUTCOMES["disabled"]
        raise ClientError(disabled.code, disabled.message)
    with translated_errors():
        return {"revokedAtEve": await delete_account(keeper, session.account_id)}
