"""The types whose resolvers are in this package, and what the resolvers share."""

from typing import Any, Final

from ariadne import MutationType, ObjectType, QueryType

from actors.users.tokens import ACTIVE
from api.context import Info
from api.errors import ClientError
from api.login.viewer import characters_of

USER_QUERY: Final = QueryType()
MUTATION: Final = MutationType()
CHARACTER: Final = ObjectType("AccountCharacter")
SYNC: Final = ObjectType("Sync")
IMPORT: Final = ObjectType("Import")
SYNC_STATUS: Final = ObjectType("SyncStatus")


async def own_characters(info: Info) -> list[Any]:
    """Read the viewer's characters.

    Raises:
        ClientError: UNAUTHENTICATED.
    """
    context = info.context
    return await characters_of(context.state.database, context.viewer.account_id)


async def own_character(info: Info, character_id: int) -> Any:
    """Read one of the viewer's characters.

    Raises:
        ClientError: UNAUTHENTICATED; NOT_FOUND, whether or not it is somebody else's.
    """
    for character in await own_characters(info):
        if character["character_id"] == character_id:
            return character
    raise ClientError("NOT_FOUND", f"character {character_id} isn't on your account")


def is_operator(info: Info, characters: list[Any]) -> bool:
    """Return whether one of an account's characters is an operator.

    A character whose tokens EVE no longer accepts isn't: it may have been sold.
    """
    operators = {id_.strip() for id_ in info.context.state.settings.operators.split(",")}
    return any(
        str(one["character_id"]) in operators and one["state"] == ACTIVE for one in characters
    )
