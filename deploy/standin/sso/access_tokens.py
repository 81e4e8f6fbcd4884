"""Access tokens: JWTs with EVE's claims, right or wrong in each way that a client must notice.

Source: EVE's SSO documentation, "Validating JWT tokens" (read 2026-11-21).
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
from joserfc import jwt

from deploy.standin.characters import Character, owner_hash
from deploy.standin.faults import Faults, Issuer, WrongToken
from deploy.standin.sso.grants import Bearer
from deploy.standin.sso.keys import es256_key, foreign_key, rs256_key

Claims = dict[str, Any]

EVE: Final = "EVE Online"
"""The second audience, beside the application."""


def make_access_token(
    character: Character, bearer: Bearer, *, faults: Faults, url: str, now_s: float
) -> str:
    """Make an access token.

    Args:
        character: whose it is.
        bearer: what was granted, and to which application.
        faults: the switches.
        url: of the SSO.
        now_s: the time.
    """
    claims = _claims(character, bearer, faults, now_s) | {"iss": issuer(faults.sso_issuer, url)}
    for wrong in faults.sso_token_wrong:
        claims |= _wrong_claims(wrong, bearer, now_s)
    for kind, forge in _FORGERS.items():
        if kind in faults.sso_token_wrong:
            return forge(claims)
    key = es256_key() if faults.sso_alg == "ES256" else rs256_key()
    header = {"alg": faults.sso_alg, "kid": key.kid, "typ": "JWT"}
    return jwt.encode(header, claims | {"kid": key.kid}, key)


def issuer(form: Issuer, url: str) -> str:
    """Write the issuer in one of the three forms that EVE's tokens have."""
    return {"host": urlsplit(url).netloc, "url": url, "slash": f"{url}/"}[form]


def _claims(character: Character, bearer: Bearer, faults: Faults, now_s: float) -> Claims:
    character_id = character.character_id
    sold = character_id in faults.sso_sold
    claims = {
        "jti": str(uuid4()),
        "sub": f"CHARACTER:EVE:{character_id}",
        "azp": bearer.application_id,
        "tenant": "tranquility",
        "tier": "live",
        "region": "world",
        "aud": [bearer.application_id, EVE],
        "name": faults.renamed.get(character_id, character.name),
        "owner": owner_hash(character_id, owner=2) if sold else character.owner_hash,
        "exp": int(now_s) + faults.sso_token_s,
        "iat": int(now_s),
    }
    scopes = sorted(bearer.scopes)
    if scopes:
        claims["scp"] = scopes if len(scopes) > 1 else scopes[0]
    return claims


def _wrong_claims(wrong: WrongToken, bearer: Bearer, now_s: float) -> Claims:
    changes: dict[WrongToken, Claims] = {
        "application": {"aud": ["another-application", EVE], "azp": "another-application"},
        "audience": {"aud": [bearer.application_id]},
        "issuer": {"iss": "https://login.example.org"},
        "expired": {"iat": int(now_s) - 7_200, "exp": int(now_s) - 6_000},
        "subject": {"sub": "CORPORATION:EVE:98000001"},
    }
    return changes.get(wrong, {})


def _signed_by_another_key(claims: Claims) -> str:
    key = foreign_key()
    return jwt.encode({"alg": "RS256", "kid": key.kid, "typ": "JWT"}, claims, key)


def _without_signature(claims: Claims) -> str:
    return f"{_unsigned('none', claims)}."


def _signed_by_the_public_key(claims: Claims) -> str:
    """Sign with HMAC, the public key being the secret: libraries refuse to, so by hand."""
    unsigned = _unsigned("HS256", claims)
    public = rs256_key().as_pem(private=False)
    return f"{unsigned}.{_base64(hmac.digest(public, unsigned.encode(), hashlib.sha256))}"


def _unsigned(alg: str, claims: Claims) -> str:
    header = {"alg": alg, "kid": rs256_key().kid, "typ": "JWT"}
    return ".".join(_base64(msgspec.json.encode(part)) for part in (header, claims))


def _base64(given: bytes) -> str:
    return urlsafe_b64encode(given).rstrip(b"=").decode()


_FORGERS: Final[dict[WrongToken, Callable[[Claims], str]]] = {
    "key": _signed_by_another_key,
    "none": _without_signature,
    "hmac": _signed_by_the_public_key,
}
