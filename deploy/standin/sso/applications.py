"""The applications that are registered at the SSO, and the scopes they may ask for."""

from typing import Final

import msgspec

SCOPES: Final = (
    "esi-killmails.read_killmails.v1",
    "esi-killmails.read_corporation_killmails.v1",
    "esi-characters.read_corporation_roles.v1",
)


class Application(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One application, as its developer registered it."""

    client_id: str
    secret: str
    callbacks: tuple[str, ...]
    """Where a login may lead back to, each compared character by character."""
    scopes: tuple[str, ...] = SCOPES


DEVELOPMENT: Final = Application(
    client_id="killstream-dev",
    secret="killstream-dev-secret",
    callbacks=("http://127.0.0.1:4000/auth/callback", "http://localhost:4000/auth/callback"),
)
"""What is registered unless others are given."""
