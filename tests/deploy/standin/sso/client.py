"""Logging in at a stand-in's SSO, as a program does."""

import secrets
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet
from yarl import URL

from deploy.standin.sso.applications import DEVELOPMENT, SCOPES, Application
from tests.deploy.standin.conftest import Answer, Client

CALLBACK = DEVELOPMENT.callbacks[0]
VERIFIER = urlsafe_b64encode(secrets.token_bytes(32)).decode()
"""With the padding that CCP's own sample leaves in it."""
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def query(**changes: str | None) -> dict[str, str]:
    """A good query of a login; a change of None leaves it out."""
    good: dict[str, str | None] = {
        "response_type": "code",
        "client_id": DEVELOPMENT.client_id,
        "redirect_uri": CALLBACK,
        "scope": " ".join(SCOPES),
        "state": "s t&te",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def basic(application: Application = DEVELOPMENT, **changes: str) -> dict[str, str]:
    id_, secret = application.client_id, changes.get("secret", application.secret)
    return {"Authorization": f"Basic {b64encode(f'{id_}:{secret}'.encode()).decode()}"}


async def authorize(client: Client, **changes: str | None) -> Answer:
    return await client.get("/v2/oauth/authorize", params=query(**changes))


def returned(answer: Answer) -> dict[str, str]:
    """What a redirect to the callback carries."""
    assert answer.status == 302, answer.body
    to = URL(answer.headers["Location"])
    assert str(to.with_query(None)) == CALLBACK
    return dict(to.query)


async def character_id(client: Client) -> int:
    (first,) = await client.json("/standin/characters?limit=1")
    return int(first["character_id"])


async def code(client: Client, **changes: str | None) -> str:
    who = {"character_id": str(await character_id(client))}
    return returned(await authorize(client, **(who | changes)))["code"]


async def exchange(client: Client, given: str, **changes: Any) -> Answer:
    fields = {"grant_type": "authorization_code", "code": given, "code_verifier": VERIFIER}
    fields |= changes.pop("fields", {})
    return await token(client, fields, **changes)


async def token(client: Client, fields: dict[str, str], **options: Any) -> Answer:
    options = {"headers": basic()} | options
    return await client.ask("POST", "/v2/oauth/token", data=fields, **options)


async def log_in(client: Client, **changes: str | None) -> Any:
    """The token endpoint's answer to a whole login."""
    answer = await exchange(client, await code(client, **changes))
    assert answer.status == 200, answer.body
    return answer.json()


async def refresh(client: Client, refresh_token: str, **changes: Any) -> Answer:
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return await token(client, fields | changes.pop("fields", {}), **changes)


def refused(answer: Answer) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status, body["error"], body["error_description"]


async def verified(client: Client, access_token: str) -> jwt.Token:
    """Check a token's signature against the JWKS, by the key and algorithm of its header."""
    keys = KeySet.import_key_set(await client.json("/oauth/jwks"))
    return jwt.decode(access_token, keys, algorithms=["RS256", "ES256"])
