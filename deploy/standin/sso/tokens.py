"""`/v2/oauth/token`: exchanges codes and refresh tokens for access tokens."""

from collections.abc import Mapping
from hmac import compare_digest
from typing import NamedTuple

from aiohttp import BasicAuth, web
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from deploy.standin.playback import Playback
from deploy.standin.sso.applications import Application
from deploy.standin.sso.grants import Bearer, RefreshToken
from deploy.standin.sso.refused import Refused, refusal

Form = Mapping[str, str]


class Granted(NamedTuple):
    """What an access token is made for, and the refresh token that goes with it."""

    bearer: Bearer
    refresh_token: str | None


async def read_form(request: web.Request) -> Form:
    """Read the fields of a request.

    Raises:
        Refused: the body isn't form-urlencoded.
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise Refused("invalid_request", "the body must be application/x-www-form-urlencoded")
    return {name: str(value) for name, value in (await request.post()).items()}


def authenticate(
    request: web.Request, form: Form, applications: Mapping[str, Application]
) -> Application:
    """Find which application asks: by its secret, or by its id alone, as native ones do.

    Raises:
        Refused: the application is unknown or its secret wrong.
    """
    client_id, secret = form.get("client_id", ""), form.get("client_secret")
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        try:
            client_id, secret, _ = BasicAuth.decode(authorization)
        except ValueError:
            raise refusal("credentials") from None
    application = applications.get(client_id)
    if application is None:
        raise refusal("credentials")
    if secret is not None and not compare_digest(secret.encode(), application.secret.encode()):
        raise refusal("credentials")
    return application


def grant(form: Form, application: Application, playback: Playback) -> Granted:
    """Do what the form asks for.

    Raises:
        Refused: says why.
    """
    match form.get("grant_type"):
        case "authorization_code":
            return _exchange(form, application, playback)
        case "refresh_token":
            return _refresh(form, application, playback)
    raise Refused("unsupported_grant_type", "grant_type is authorization_code or refresh_token")


def _exchange(form: Form, application: Application, playback: Playback) -> Granted:
    """Use up a code, whatever comes of it. Without scopes there is no refresh token."""
    code = playback.grants.take_code(_field(form, "code"), playback.now_s())
    if code is None or code.bearer.application_id != application.client_id:
        raise Refused("invalid_grant", "The authorization code is invalid or has expired.")
    if create_s256_code_challenge(_field(form, "code_verifier")) != code.challenge:
        raise Refused("invalid_grant", "The code verifier doesn't match the code challenge.")
    if not code.bearer.scopes:
        return Granted(code.bearer, None)
    return Granted(code.bearer, playback.grants.give_refresh_token(code.bearer, playback.now_s()))


def _refresh(form: Form, application: Application, playback: Playback) -> Granted:
    token = _field(form, "refresh_token")
    if playback.count_down("sso_fail_next"):
        playback.stats.faults["sso_error"] += 1
        raise refusal(playback.faults.sso_error)
    held = _valid(token, application, playback)
    scopes = frozenset(form["scope"].split()) if form.get("scope") else held.bearer.scopes
    if not scopes <= held.bearer.scopes:
        raise Refused("invalid_scope", "The requested scope exceeds what was granted.")
    if playback.faults.sso_rotation:
        token = playback.grants.rotate(token, playback.now_s())
    return Granted(held.bearer._replace(scopes=scopes), token)


def _valid(token: str, application: Application, playback: Playback) -> RefreshToken:
    grants = playback.grants
    held = grants.find_refresh_token(token)
    if held is None:
        if grants.was_rotated(token):
            playback.stats.refused["refresh_token_reused"] += 1
        raise refusal("token" if grants.has_shape(token) else "migrate")
    if held.bearer.application_id != application.client_id:
        raise refusal("client")
    lasts_s = playback.faults.sso_refresh_token_s
    if lasts_s is not None and playback.now_s() >= held.issued_at_s + lasts_s:
        raise refusal("expired")
    if held.withdrawn:
        raise refusal("grant")
    return held


def _field(form: Form, name: str) -> str:
    if not form.get(name):
        raise Refused("invalid_request", f"{name} is missing")
    return form[name]
