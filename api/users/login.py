"""Login and logout by GraphQL, for programs."""

from typing import Any

from actors.shared.errors import Invalid
from actors.users.secrets import new_secret
from actors.users.sessions import Opened, close_session, open_session, renew_session
from api.context import Info
from api.errors import BadInput, ClientError
from api.login import flow
from api.login.flow import LoginFailed
from api.login.viewer import characters_of
from api.state import writing
from api.users.bindings import MUTATION


@MUTATION.field("login")
async def resolve_login(_: None, info: Info, scopes: list[str]) -> dict[str, str]:
    """Begin a login."""
    viewer, client_secret = info.context.viewer, new_secret()
    try:
        keeper = await flow.admit(info.context.state, viewer, "begin")
        begun = await flow.begin(keeper, viewer, scopes, client_secret)
    except LoginFailed as error:
        raise _refusal(error) from None
    except Invalid as error:
        raise BadInput(str(error)) from None
    return {"url": begun.url, "state": begun.state, "clientSecret": client_secret}


@MUTATION.field("authenticateWithCode")
async def resolve_authenticate(
    _: None, info: Info, code: str, state: str, client_secret: str
) -> dict[str, Any]:
    """Complete a login, and open a session."""
    viewer, gateway = info.context.viewer, info.context.state
    try:
        keeper = await flow.admit(gateway, viewer, "complete")
        logged_in = await flow.complete(keeper, viewer, code, state, client_secret)
    except LoginFailed as error:
        raise _refusal(error) from None
    async with writing(gateway) as connection:
        opened = await open_session(connection, logged_in.account_id, "bearer")
    characters = await characters_of(gateway.database, logged_in.account_id)
    of_login = [one for one in characters if one["character_id"] == logged_in.character_id]
    return _session(opened) | {"character": of_login[0] if of_login else None}


@MUTATION.field("refreshToken")
async def resolve_refresh(_: None, info: Info) -> dict[str, Any]:
    """Renew the session of a program."""
    session = info.context.viewer.require_login()
    if session.kind != "bearer":
        raise ClientError(
            "FORBIDDEN", "the session of a browser has no token to renew: log in again"
        )
    async with writing(info.context.state) as connection:
        opened = await renew_session(connection, session)
    if opened is None:
        raise ClientError("UNAUTHENTICATED", "this session has ended: log in again")
    return _session(opened)


@MUTATION.field("logout")
async def resolve_logout(_: None, info: Info) -> bool:
    """End the session."""
    session = info.context.viewer.require_login()
    async with writing(info.context.state) as connection:
        return await close_session(connection, session.token_hash)


def _session(opened: Opened) -> dict[str, Any]:
    return {"token": opened.token, "expiresAt": opened.expires_at}


def _refusal(error: LoginFailed) -> ClientError:
    facts = {} if error.retry_after_s is None else {"retryAfterSeconds": error.retry_after_s}
    return ClientError(error.outcome.code, str(error), **facts)
