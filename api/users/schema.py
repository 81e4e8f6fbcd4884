"""All that binds the schema's user part; importing a module registers its resolvers."""

from typing import Final

from ariadne import SchemaBindable

from api.users import imports, keys, killmails, login, me, operator, preferences, sync
from api.users.bindings import CHARACTER, IMPORT, MUTATION, SYNC, SYNC_STATUS, USER_QUERY

RESOLVERS: Final = (imports, keys, killmails, login, me, operator, preferences, sync)
USER_TYPES: Final[tuple[SchemaBindable, ...]] = (
    USER_QUERY,
    MUTATION,
    CHARACTER,
    SYNC,
    IMPORT,
    SYNC_STATUS,
)
