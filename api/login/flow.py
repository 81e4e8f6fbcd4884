"""Begin and complete logins: rate limited, counted, with a named outcome for each failure."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from actors.shared.errors import KillstreamError, Misconfigured
from actors.users.login import (
    Begun,
    ForeignState,
    InvalidState,
    LoggedIn,
    begin_login,
    complete_login,
    esi_scopes,
)
from actors.users.secrets import is_secret
from actors.users.sso import LoginRequired, SsoUnavailable, TokenForged
from actors.users.tokens import Keeper
from actors.users.vault import Undecryptable
from api.login.failures import LOGINS, Reason, record_failure
from api.login.viewer import Viewer
from api.state import State
from api.users.state import translated_errors

CODE: Final = re.compile(r"[!-~]{1,4096}")
"""The form of EVE's codes: RFC 6749, appendix A.11; the bound is ours."""
RETRY_S: Final = 30
"""`Retry-After` while EVE's SSO is unavailable."""


@dataclass(frozen=True)
class Outcome:
    """The answer to a failure."""

    status: int
    """HTTP status."""
    code: str
    """`extensions.code` in GraphQL."""
    message: str


OUTCOMES: Final[dict[Reason | Literal["disabled"], Outcome]] = {
    "disabled": Outcome(
        503, "LOGIN_DISABLED", "Nobody can log in here: KILLSTREAM_EVE_CLIENT_ID isn't set."
    ),
    "incomplete": Outcome(
        400, "BAD_USER_INPUT", "The address lacks the code or the state, or it is damaged."
    ),
    "access_denied": Outcome(403, "ACCESS_DENIED", "You declined the login on EVE's page."),
    "eve_error": Outcome(400, "LOGIN_REFUSED", "EVE's login refused."),
    "invalid_state": Outcome(
        400, "INVALID_STATE", "This login is unknown, was used already, or took too long."
    ),
    "foreign_state": Outcome(
        400,
        "INVALID_STATE",
        "This login was begun by another browser or program. If it was your own program, give it"
        " the address of this page, and don't give the address to anybody else.",
    ),
    "code_refused": Outcome(
        400, "LOGIN_REFUSED", "EVE refused the code: it was used already, or is too old."
    ),
    "token_forged": Outcome(
        502, "LOGIN_REFUSED", "The answer of EVE's login can't be trusted, so nothing was stored."
    ),
    "sso_unavailable": Outcome(
        503, "SSO_UNAVAILABLE", "EVE's login doesn't answer. Try again in 30 seconds."
    ),
    "misconfigured": Outcome(
        500,
        "LOGIN_MISCONFIGURED",
        "The login of this gateway is set up wrongly; the reason is in its log.",
    ),
    "api_key": Outcome(403, "FORBIDDEN", "An API key can't log in: send the request without it."),
    "rate_limited": Outcome(429, "RATE_LIMITED", "Too many logins from your address."),
}


class LoginFailed(KillstreamError):
    """A login can't begin or be completed."""

    def __init__(
        self, reason: Reason | Literal["disabled"], retry_after_s: int | None = None
    ) -> None:
        self.outcome = OUTCOMES[reason]
        super().__init__(self.outcome.message)
        self.retry_after_s = retry_after_s


async def admit(state: State, viewer: Viewer, action: Literal["begin", "complete"]) -> Keeper:
    """Check that a client may log in now, count the attempt, and return the keeper.

    An API key is refused, since the session that a login opens has more rights than the key.

    Raises:
        LoginFailed: logins are disabled, the viewer has an API key, or the limit is reached.
    """
    if viewer.session is not None and viewer.session.kind == "api_key":
        raise fail(viewer, "api_key")
    keeper = state.users.keeper
    if keeper is None:
        raise LoginFailed("disabled")
    wait_s = await state.users.limit.hit(action, viewer.address)
    if wait_s is not None:
        raise fail(viewer, "rate_limited", retry_after_s=wait_s)
    return keeper


async def begin(keeper: Keeper, viewer: Viewer, chosen: list[str], client_secret: str) -> Begun:
    """Begin a login. With a session, the character is added to the session's account.

    Args:
        keeper: The keeper of `admit`.
        viewer: The client.
        chosen: `character`, `corporation`, or both.
        client_secret: A secret of the client, with which it must complete the login.

    Raises:
        LoginFailed: The login can't begin; the outcome has the reason.
        Invalid: `chosen` is empty or has another value.
        DatabaseUnavailable: The login can't be stored; the same call may succeed later.
    """
    scopes = esi_scopes(chosen)
    with _failures(viewer), translated_errors():
        return await begin_login(keeper, scopes, client_secret, _account_of(viewer))


async def complete(
    keeper: Keeper, viewer: Viewer, code: str, login_state: str, client_secret: str
) -> LoggedIn:
    """Complete a login with the code of EVE's callback; raises as `begin`."""
    if not (login_state and CODE.fullmatch(code)):
        raise fail(viewer, "incomplete")
    if not is_secret(login_state):
        raise fail(viewer, "invalid_state")
    if not is_secret(client_secret):
        raise fail(viewer, "foreign_state")
    with _failures(viewer), translated_errors():
        logged_in = await complete_login(
            keeper, code, login_state, client_secret, _account_of(viewer)
        )
    LOGINS.inc()
    return logged_in


def _account_of(viewer: Viewer) -> str | None:
    return viewer.session.account_id if viewer.session else None


def fail(viewer: Viewer, reason: Reason, **options: Any) -> LoginFailed:
    """Record a failure, and return the error to raise."""
    record_failure(reason, viewer.address, options.pop("detail", None))
    return LoginFailed(reason, **options)


@contextmanager
def _failures(viewer: Viewer) -> Iterator[None]:
    try:
        yield
    except ForeignState:
        raise fail(viewer, "foreign_state") from None
    except InvalidState:
        raise fail(viewer, "invalid_state") from None
    except TokenForged as error:
        raise fail(viewer, "token_forged", detail=str(error)) from None
    except LoginRequired as error:
        raise fail(viewer, "code_refused", detail=str(error)) from None
    except SsoUnavailable as error:
        raise fail(viewer, "sso_unavailable", detail=str(error), retry_after_s=RETRY_S) from None
    except (Misconfigured, Undecryptable) as error:
        raise fail(viewer, "misconfigured", detail=str(error)) from None
