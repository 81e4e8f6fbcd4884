"""Serves the SSO: the endpoints of its metadata, without `userinfo`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from deploy.standin.playback import Playback
from deploy.standin.sso.access_tokens import make_access_token
from deploy.standin.sso.authorize import (
    AuthorizationError,
    AuthorizationRequest,
    InvalidRedirect,
    check,
    redirect,
)
from deploy.standin.sso.consent import consent_page
from deploy.standin.sso.grants import Bearer
from deploy.standin.sso.keys import jwks
from deploy.standin.sso.refused import Refused, json_response
from deploy.standin.sso.tokens import Granted, authenticate, grant, read_form

LISTED: Final = 50
"""Characters on the consent page."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Sso:
    """Serves `/.well-known/oauth-authorization-server`, `/oauth/jwks` and `/v2/oauth`."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._applications = {one.client_id: one for one in playback.options.applications}

    def routes(self) -> list[web.RouteDef]:
        """List the routes."""
        return [
            web.get(
                "/.well-known/oauth-authorization-server", self._served("metadata", self.metadata)
            ),
            web.get("/oauth/jwks", self._served("jwks", self.jwks)),
            web.get("/v2/oauth/authorize", self._served("authorize", self.authorize)),
            web.post("/v2/oauth/authorize", self._served("consent", self.consent)),
            web.post("/v2/oauth/token", self._served("token", self.token)),
            web.post("/v2/oauth/revoke", self._served("revoke", self.revoke)),
        ]

    async def metadata(self, request: web.Request) -> web.Response:
        """Answer the metadata."""
        url = self._url(request)
        return json_response(
            {
                "issuer": url,
                "authorization_endpoint": f"{url}/v2/oauth/authorize",
                "token_endpoint": f"{url}/v2/oauth/token",
                "userinfo_endpoint": f"{url}/v2/oauth/verify",
                "jwks_uri": f"{url}/oauth/jwks",
                "revocation_endpoint": f"{url}/v2/oauth/revoke",
                "response_types_supported": ["code", "token"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_basic",
                    "client_secret_post",
                    "client_secret_jwt",
                ],
            }
        )

    async def jwks(self, _: web.Request) -> web.Response:
        """Answer the keys that access tokens are signed with."""
        return json_response(jwks())

    async def authorize(self, request: web.Request) -> web.Response:
        """Show the consent page.

        A program adds `&character_id=ID` to log in with that character at once, or `&deny=1`.
        """
        authorization = check(request.query, self._applications)
        await self._playback.characters.load()
        if "deny" in request.query:
            return self._decide(authorization, "deny", "")
        if "character_id" in request.query:
            return self._decide(authorization, "allow", request.query["character_id"])
        characters = self._playback.characters.all(LISTED)
        page = consent_page(
            authorization.application.client_id, authorization.scopes, characters, request.path_qs
        )
        return web.Response(text=page, content_type="text/html")

    async def consent(self, request: web.Request) -> web.Response:
        """Handle the form of the consent page."""
        authorization = check(request.query, self._applications)
        form = await read_form(request)
        await self._playback.characters.load()
        return self._decide(authorization, form.get("decision", ""), form.get("character_id", ""))

    async def token(self, request: web.Request) -> web.Response:
        """Exchange a code or a refresh token."""
        form = await read_form(request)
        await self._playback.characters.load()
        application = authenticate(request, form, self._applications)
        try:
            granted = grant(form, application, self._playback)
        except Refused as refused:
            if self._playback.faults.sso_repeats:
                refused.description += f" {form.get('code') or form.get('refresh_token')}"
            raise
        answer = self._access_token_answer(granted, self._url(request))
        if self._playback.count_down("sso_lost_next") and request.transport:
            self._playback.stats.faults["sso_lost"] += 1
            request.transport.close()
        return answer

    async def revoke(self, request: web.Request) -> web.Response:
        """Revoke a token; the answer to an unknown one is the same."""
        form = await read_form(request)
        self._playback.grants.revoke(form.get("token", ""))
        return web.Response()

    def _decide(
        self, authorization: AuthorizationRequest, decision: str, character_id: str
    ) -> web.Response:
        if decision != "allow":
            raise AuthorizationError(
                {"redirect_uri": authorization.redirect_uri, "state": authorization.state},
                "access_denied",
                "The player denied it.",
            )
        digits = character_id.isascii() and character_id.isdigit()
        character = self._playback.characters.get(int(character_id)) if digits else None
        if character is None:
            raise InvalidRedirect("no such character in this dataset")
        bearer = Bearer(
            character.character_id,
            frozenset(authorization.scopes),
            authorization.application.client_id,
        )
        code = self._playback.grants.give_code(
            bearer, authorization.challenge, self._playback.now_s()
        )
        return redirect(authorization.redirect_uri, {"code": code, "state": authorization.state})

    def _access_token_answer(self, granted: Granted, url: str) -> web.Response:
        playback, bearer = self._playback, granted.bearer
        character = playback.characters.get(bearer.character_id)
        if character is None:
            raise LookupError(bearer.character_id)
        now_s, faults = playback.now_s(), playback.faults
        token = make_access_token(character, bearer, faults=faults, url=url, now_s=now_s)
        if not faults.sso_token_wrong:
            until_s = now_s + faults.sso_token_s
            playback.grants.give_access_token(token, bearer, until_s, now_s)
        answer = {
            "access_token": token,
            "expires_in": faults.sso_token_s - 1,
            "token_type": "Bearer",
        }
        if granted.refresh_token is not None:
            answer["refresh_token"] = granted.refresh_token
        return json_response(answer)

    def _url(self, request: web.Request) -> str:
        return self._playback.options.sso_url or f"{request.scheme}://{request.host}"

    def _served(self, endpoint: str, handler: Handler) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            faults = self._playback.faults
            try:
                if faults.sso_status is None:
                    answer = await handler(request)
                else:
                    self._playback.stats.faults["sso_status"] += 1
                    answer = web.Response(status=faults.sso_status, text="Service unavailable")
            except (Refused, AuthorizationError, InvalidRedirect) as refused:
                answer = refused.answer()
            self._playback.stats.requests["sso", endpoint, answer.status] += 1
            if faults.sso_latency_ms:
                await asyncio.sleep(faults.sso_latency_ms / 1000)
            return answer

        return serve
