"""The viewer of a request or websocket: its session, found by a cookie or a bearer token."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import select
from starlette.requests import HTTPConnection

from actors.shared.tables import USERS
from actors.users.secrets import is_secret
from actors.users.sessions import Session, is_used_anew, session_of, session_query, touch_session
from api.database import ReadDatabase
from api.errors import ClientError
from api.login.cookies import read_cookie
from api.login.failures import record_failure
from api.login.origin import may_use_cookies
from api.state import State

BEARER: Final = "Authorization: must be `Bearer`, a space, and a token"
HOW: Final = "log in at /auth/login, or send `Authorization: Bearer` with a token or an API key"


class InvalidBearer(ClientError):
    """The bearer token is unknown, closed or expired, or there is something else in its place."""

    def __init__(
        self, message: str = "the token is invalid, expired or revoked: log in again"
    ) -> None:
        super().__init__("UNAUTHENTICATED", message)


@dataclass(frozen=True)
class Credential:
    """The secret by which a client has identified itself."""

    token: str
    is_bearer: bool

    def __repr__(self) -> str:
        return "Credential()"


@dataclass(frozen=True)
class Viewer:
    """The client of a request; anonymous without a session."""

    address: str
    """The client's IP address."""
    session: Session | None = None

    @property
    def account_id(self) -> str:
        """The account.

        Raises:
            ClientError: UNAUTHENTICATED.
        """
        return self.require_session().account_id

    def require_session(self) -> Session:
        """Return the session.

        Raises:
            ClientError: UNAUTHENTICATED.
        """
        if self.session is None:
            raise ClientError("UNAUTHENTICATED", f"you aren't logged in: {HOW}")
        return self.session

    def require_login(self) -> Session:
        """Return the session of a login. An API key is refused, as it may not manage the account.

        Raises:
            ClientError: UNAUTHENTICATED or FORBIDDEN.
        """
        session = self.require_session()
        if session.kind == "api_key":
            raise ClientError("FORBIDDEN", "an API key can't do this: log in")
        return session


async def find_viewer(state: State, connection: HTTPConnection) -> Viewer:
    """Find the viewer of a request; reads the database only if it carries a credential.

    Raises:
        InvalidBearer: the bearer token is invalid. An invalid cookie is ignored.
        DatabaseUnavailable: the session can't be read.
    """
    address = address_of(connection)
    with recorded_refusals(address):
        return await identify(state, address, credential_of(state, connection))


@contextmanager
def recorded_refusals(address: str) -> Iterator[None]:
    """Count and log a bearer token that is refused."""
    try:
        yield
    except InvalidBearer:
        record_failure("invalid_bearer", address)
        raise


def credential_of(state: State, connection: HTTPConnection) -> Credential | None:
    """Read the credential of a request: a bearer token, or an accepted cookie.

    Raises:
        InvalidBearer: the header is a token without its scheme.
    """
    token = bearer_token(connection.headers.get("authorization"))
    if token is not None:
        return Credential(token, is_bearer=True)
    cookie = read_cookie(connection, state.settings, "session")
    if cookie is None:
        return None
    if not may_use_cookies(connection, state.settings):
        record_failure("foreign_origin", address_of(connection))
        return None
    return Credential(cookie, is_bearer=False)


def bearer_token(authorization: str | None) -> str | None:
    """Read the token of a header; None when there is none, or for another scheme.

    Raises:
        InvalidBearer: the header is a token without its scheme.
    """
    if authorization is None:
        return None
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if not token:
        raise InvalidBearer(BEARER)
    return None


def bearer_token_of_payload(payload: Any) -> str | None:
    """Read the token of a `connection_init`; None when its payload has no `authorization`.

    Raises:
        InvalidBearer: the value isn't a bearer token.
    """
    for key, value in payload.items() if isinstance(payload, dict) else ():
        if key.lower() == "authorization" and value is not None:
            token = bearer_token(value) if isinstance(value, str) else None
            if token is None:
                raise InvalidBearer(BEARER)
            return token
    return None


async def identify(state: State, address: str, credential: Credential | None) -> Viewer:
    """Find the viewer who has a credential; raises like `find_viewer`."""
    if credential is None:
        return Viewer(address)
    row = None
    if is_secret(credential.token):
        row = await state.database.fetch_one(session_query(credential.token))
    if row is None:
        if not credential.is_bearer:
            return Viewer(address)
        raise InvalidBearer
    session = session_of(row)
    if is_used_anew(session):
        state.users.background.add(
            ("session", session.token_hash), partial(touch_session, session=session)
        )
    return Viewer(address, session)


async def characters_of(database: ReadDatabase, account_id: str) -> list[Any]:
    """Read the characters of an account, the latest login first."""
    query = (
        select(USERS)
        .where(USERS.c.account_id == account_id)
        .order_by(USERS.c.logged_in_at.desc(), USERS.c.character_id)
    )
    return list(await database.fetch_all(query))


def address_of(connection: HTTPConnection) -> str:
    """Return the client's IP address, for limits and logs."""
    return connection.client.host if connection.client else "unknown"
