"""The client of EVE's single sign-on: OAuth 2.0 with PKCE, by Authlib, sent with aiohttp.

Source: EVE's documentation of SSO and its metadata document (read 2026-11-21).
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from actors.esi.answer import Answer, read_answer
from actors.shared.errors import DECODE_ERRORS, Invalid, Misconfigured, RetryLater
from actors.shared.settings import Settings
from actors.shared.useragent import user_agent
from actors.users.claims import Claims, InvalidToken, UnknownKey, verify

TIMEOUT: Final = aiohttp.ClientTimeout(total=10, sock_connect=5)
UNAVAILABLE_MS: Final = 30_000
"""Delay after a temporary failure."""
METADATA_S: Final = 3_600.0
"""How long metadata and keys are used before they are requested again."""
_PERMANENT: Final = frozenset({"invalid_grant", "invalid_token", "invalid_scope"})
_WRONG_CLIENT: Final = frozenset({"invalid_client", "unauthorized_client"})


class LoginRequired(Invalid):
    """EVE refuses the code or refresh token for good; the user has to log in again."""


class SsoUnavailable(RetryLater):
    """EVE's single sign-on fails; a later request may succeed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, delay_ms=UNAVAILABLE_MS)


class Unverified(SsoUnavailable):
    """EVE issued tokens, but the access token can't be verified: its keys can't be read.

    `refresh_token` replaces the one that was used, which may be dead now. It is secret.
    """

    refresh_token: str | None = None


class TokenForged(Unverified):
    """The access token in EVE's answer isn't one that EVE issued to this application."""


class _Metadata(msgspec.Struct, frozen=True):
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    revocation_endpoint: str


class _TokenAnswer(msgspec.Struct, frozen=True):
    access_token: str
    refresh_token: str | None = None


class _TokenError(msgspec.Struct, frozen=True):
    error: str
    error_description: str = ""


@dataclass(frozen=True)
class Tokens:
    """What EVE issued. The tokens are secrets and not part of its repr."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    claims: Claims


class Sso:
    """The client of one process and event loop."""

    def __init__(self, settings: Settings, http: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._http = http
        self._metadata: _Metadata | None = None
        self._keys: KeySet | None = None
        self._read_at_s = 0.0
        self._reading = asyncio.Lock()

    async def authorization_url(self, state: str, verifier: str, scopes: list[str]) -> str:
        """Make the address where the user consents.

        Raises:
            SsoUnavailable: the metadata can't be read.
        """
        metadata = await self._discover()
        return str(
            prepare_grant_uri(
                metadata.authorization_endpoint,
                self._settings.eve_client_id,
                "code",
                redirect_uri=self._settings.eve_callback_url,
                scope=scopes,
                state=state,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    async def exchange(self, code: str, verifier: str) -> Tokens:
        """Exchange the code of a callback for tokens.

        Raises:
            LoginRequired: the code is unknown, used or expired.
            TokenForged: the access token is invalid.
            SsoUnavailable: retry later.
            Misconfigured: the client id or secret is wrong.
        """
        return await self._request_tokens(
            grant_type="authorization_code",
            code=code,
            code_verifier=verifier,
            redirect_uri=self._settings.eve_callback_url,
        )

    async def refresh(self, refresh_token: str) -> Tokens:
        """Refresh an access token; the refresh token of the answer replaces the given one.

        Raises:
            LoginRequired: the refresh token is dead.
            Unverified: the new access token can't be verified, or is invalid.
            SsoUnavailable: retry later.
            Misconfigured: the client id or secret is wrong.
        """
        return await self._request_tokens(grant_type="refresh_token", refresh_token=refresh_token)

    async def revoke(self, refresh_token: str) -> None:
        """Revoke a refresh token and its access tokens.

        Raises:
            SsoUnavailable: retry later.
        """
        endpoint = (await self._discover()).revocation_endpoint
        answer = await self._post(endpoint, token=refresh_token, token_type_hint="refresh_token")
        if answer.status != 200:
            raise SsoUnavailable(f"EVE's SSO answers {answer.status} to a revocation")

    async def _request_tokens(self, **form: str) -> Tokens:
        answer = await self._post((await self._discover()).token_endpoint, **form)
        if answer.status != 200:
            raise refusal_of(answer, form.get("code") or form.get("refresh_token") or "")
        try:
            given = msgspec.json.decode(answer.body, type=_TokenAnswer)
        except DECODE_ERRORS:
            raise SsoUnavailable("EVE's SSO answers with something that isn't a token") from None
        try:
            claims = await self._verify(given.access_token)
        except Unverified as error:
            error.refresh_token = given.refresh_token
            raise
        return Tokens(given.access_token, given.refresh_token, claims)

    async def _verify(self, access_token: str) -> Claims:
        arguments = (self._settings.eve_client_id, self._settings.sso_url)
        try:
            with suppress(UnknownKey):
                return verify(access_token, await self._key_set(), *arguments)
            self._keys = None  # EVE may have replaced its keys
            return verify(access_token, await self._key_set(), *arguments)
        except InvalidToken as error:
            raise TokenForged(str(error)) from None
        except SsoUnavailable as error:
            raise Unverified(str(error)) from None

    async def _discover(self) -> _Metadata:
        async with self._reading:
            if self._metadata is None or time.monotonic() > self._read_at_s + METADATA_S:
                base = self._settings.sso_url.rstrip("/")
                answer = await self._get(f"{base}/.well-known/oauth-authorization-server")
                try:
                    self._metadata = msgspec.json.decode(answer, type=_Metadata)
                except DECODE_ERRORS as error:
                    raise SsoUnavailable(f"EVE's SSO has invalid metadata: {error}") from None
                self._read_at_s = time.monotonic()
                self._keys = None
            return self._metadata

    async def _key_set(self) -> KeySet:
        metadata = await self._discover()
        async with self._reading:
            if self._keys is None:
                answer = await self._get(metadata.jwks_uri)
                try:
                    self._keys = KeySet.import_key_set(msgspec.json.decode(answer))
                except (*DECODE_ERRORS, JoseError, ValueError, TypeError, KeyError) as error:
                    raise SsoUnavailable(f"EVE's SSO has invalid keys: {error!r}") from None
            return self._keys

    async def _get(self, url: str) -> bytes:
        answer = await self._send("GET", url)
        if answer.status != 200:
            raise SsoUnavailable(f"EVE's SSO answers {answer.status} to {url}")
        return answer.body

    async def _post(self, url: str, **form: str) -> Answer:
        """Send a form with the client's authentication."""
        client_id = self._settings.eve_client_id
        secret = self._settings.eve_client_secret.get_secret_value()
        if secret:
            return await self._send("POST", url, form, aiohttp.encode_basic_auth(client_id, secret))
        return await self._send("POST", url, form | {"client_id": client_id})

    async def _send(
        self,
        method: str,
        url: str,
        form: dict[str, str] | None = None,
        authorization: str | None = None,
    ) -> Answer:
        headers = {
            "User-Agent": user_agent(self._settings, self._settings.sso_url),
            "Accept": "application/json",
        }
        if authorization is not None:
            headers["Authorization"] = authorization
        try:
            async with self._http.request(
                method,
                url,
                headers=headers,
                data=form,
                timeout=TIMEOUT,
                allow_redirects=False,
            ) as response:
                return await read_answer(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise SsoUnavailable(f"EVE's SSO doesn't answer: {type(error).__name__}") from None


def refusal_of(answer: Answer, secret: str) -> Exception:
    """Return what a refusal of tokens means; the secret is masked, as EVE may repeat it."""
    try:
        error = msgspec.json.decode(answer.body, type=_TokenError)
    except DECODE_ERRORS:
        error = _TokenError(f"{len(answer.body)} bytes without an error text")
    code, description = (
        _line(text.replace(secret, "***") if secret else text)
        for text in (error.error, error.error_description)
    )
    if answer.status == 401 or code in _WRONG_CLIENT:
        return Misconfigured(
            f"EVE's SSO refuses the application ({code}): correct KILLSTREAM_EVE_CLIENT_ID and"
            " KILLSTREAM_EVE_CLIENT_SECRET"
        )
    if answer.status == 400 and code in _PERMANENT:
        return LoginRequired(description or code)
    return SsoUnavailable(f"EVE's SSO answers {answer.status}: {code}")


def _line(text: str) -> str:
    """Make one short printable line."""
    return "".join(c if c.isprintable() else " " for c in text[:200])
