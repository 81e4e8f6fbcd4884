"""`/auth/…`: the addresses at which browsers log in and out."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from actors.shared.errors import Invalid
from actors.users.login import LoggedIn
from actors.users.secrets import new_secret
from actors.users.sessions import Opened, close_session, open_session
from api.errors import ClientError
from api.login import flow
from api.login.cookies import delete_cookie, read_cookie, set_cookie
from api.login.failures import Reason
from api.login.flow import LoginFailed, fail
from api.login.pages import HEADERS, failure_page, page
from api.login.viewer import Viewer, find_viewer
from api.login.welcome import welcome_page
from api.state import State, state_of, writing

ROUTER: Final = APIRouter(prefix="/auth")


@ROUTER.get("/login", response_class=Response)
async def login(request: Request, scopes: str = "character") -> Response:
    """Redirect a browser to EVE's login; `scopes` are `character`, `corporation`, or both."""
    state = state_of(request)
    try:
        viewer = await find_viewer(state, request)
        # Two tabs of a browser may log in at once: both logins are bound to one cookie.
        client_secret = read_cookie(request, state.settings, "login") or new_secret()
        chosen = [scope.strip() for scope in scopes.split(",")]
        keeper = await flow.admit(state, viewer, "begin")
        begun = await flow.begin(keeper, viewer, chosen, client_secret)
    except (LoginFailed, Invalid, ClientError) as error:
        return _refuse(request, error)
    answer = RedirectResponse(begun.url, 303, headers=HEADERS)
    set_cookie(answer, state.settings, "login", client_secret)
    return answer


@ROUTER.get("/callback", response_class=Response)
async def callback(request: Request) -> Response:
    """Complete a login with the parameters of EVE's redirect, and open a session."""
    state = state_of(request)
    try:
        viewer = await find_viewer(state, request)
        logged_in = await _complete(request, state, viewer)
    except (LoginFailed, ClientError) as error:
        return _refuse(request, error)
    opened = await _open_session(state, viewer, logged_in)
    answer = RedirectResponse("/auth/welcome", 303, headers=HEADERS)
    set_cookie(answer, state.settings, "session", opened.token)
    return answer


@ROUTER.get("/welcome", response_class=Response)
async def welcome(request: Request) -> Response:
    """Show the state of the first sync."""
    state = state_of(request)
    try:
        viewer = await find_viewer(state, request)
        account_id = viewer.account_id
    except ClientError as error:
        return _refuse(request, error)
    return await welcome_page(state.database, account_id)


@ROUTER.post("/logout", response_class=Response)
async def logout(request: Request) -> Response:
    """End the session of the cookie or bearer token."""
    state = state_of(request)
    try:
        session = (await find_viewer(state, request)).require_login()
    except ClientError as error:
        return _refuse(request, error)
    async with writing(state) as connection:
        await close_session(connection, session.token_hash)
    answer: Response = JSONResponse({"loggedOut": True}, headers=HEADERS)
    if _wants_page(request):
        answer = page("You are logged out", '<p><a href="/auth/login">Log in</a></p>')
    delete_cookie(answer, state.settings, "session")
    return answer


async def _complete(request: Request, state: State, viewer: Viewer) -> LoggedIn:
    keeper = await flow.admit(state, viewer, "complete")
    query = request.query_params
    if "error" in query:
        reason: Reason = "access_denied" if query["error"] == "access_denied" else "eve_error"
        raise fail(viewer, reason)
    client_secret = read_cookie(request, state.settings, "login") or new_secret()
    return await flow.complete(
        keeper, viewer, query.get("code", ""), query.get("state", ""), client_secret
    )


async def _open_session(state: State, viewer: Viewer, logged_in: LoggedIn) -> Opened:
    """Open a browser's session, and close the one that the browser had."""
    async with writing(state) as connection:
        if viewer.session is not None and viewer.session.kind == "browser":
            await close_session(connection, viewer.session.token_hash)
        return await open_session(connection, logged_in.account_id, "browser")


def _refuse(request: Request, error: LoginFailed | Invalid | ClientError) -> Response:
    """Answer with the reason of a failure, as a page or as JSON."""
    headers, message = dict(HEADERS), str(error)
    match error:
        case LoginFailed():
            status = error.outcome.status
            if error.retry_after_s is not None:
                headers["Retry-After"] = str(error.retry_after_s)
        case ClientError():
            message = error.message
            status = 403 if error.code == "FORBIDDEN" else 401
            if status == 401:
                headers["WWW-Authenticate"] = "Bearer"
        case _:
            status = 400
    if not _wants_page(request):
        return JSONResponse({"error": message}, status, headers=headers)
    answer = failure_page(message, status)
    answer.headers.update(headers)
    return answer


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")
