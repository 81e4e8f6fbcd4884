"""Verify an access token of EVE's single sign-on: signature, issuer, audience, expiry, claims.

Source: EVE's documentation of SSO, "Validating JWT tokens" (read 2026-11-21).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from actors.shared.errors import Invalid

ALGORITHMS: Final = ("RS256", "ES256")
AUDIENCE: Final = "EVE Online"
LEEWAY_S: Final = 10
"""Allowed difference between EVE's clock and ours."""
_SUBJECT: Final = re.compile(r"CHARACTER:EVE:([1-9]\d{0,18})")


class InvalidToken(Invalid):
    """The access token isn't one that EVE issued to this application, or it is expired."""


class UnknownKey(InvalidToken):
    """The token names a key that isn't in the key set; it may have been rotated."""


@dataclass(frozen=True)
class Claims:
    """What a valid access token says about its character."""

    character_id: int
    character_name: str
    owner_hash: str
    """Changes when the character changes hands."""
    scopes: frozenset[str]
    expires_at: datetime


def verify(token: str, keys: KeySet, client_id: str, sso_url: str) -> Claims:
    """Verify an access token and return its claims.

    Raises:
        UnknownKey: the key set lacks the token's key.
        InvalidToken: signature, issuer, audience, expiry or claims are wrong; says which.
    """
    try:
        _check_key(token, keys)
        decoded = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "values": _issuers(sso_url)},
            sub={"essential": True},
            exp={"essential": True},
        )
        registry.validate(decoded.claims)
    except UnknownKey:
        raise
    except (JoseError, ValueError, TypeError) as error:
        raise InvalidToken(f"EVE's access token is invalid: {type(error).__name__}") from None
    return _claims_of(decoded.claims, client_id)


def _check_key(token: str, keys: KeySet) -> None:
    kid = jws.extract_compact(token.encode()).headers().get("kid")
    if kid not in [key.kid for key in keys.keys]:
        raise UnknownKey("EVE's access token is signed with an unknown key")


def _issuers(sso_url: str) -> list[str]:
    """List the forms in which EVE names itself."""
    parts = urlsplit(sso_url)
    base = f"{parts.scheme}://{parts.netloc}"
    return [parts.netloc, base, f"{base}/"]


def _claims_of(claims: dict[str, Any], client_id: str) -> Claims:
    audience = claims.get("aud")
    if not isinstance(audience, list) or not {client_id, AUDIENCE} <= set(map(str, audience)):
        raise InvalidToken("EVE's access token is for another application")
    subject = _SUBJECT.fullmatch(str(claims["sub"]))
    name, owner = claims.get("name"), claims.get("owner")
    if not (subject and isinstance(name, str) and name and isinstance(owner, str) and owner):
        raise InvalidToken("EVE's access token names no character")
    return Claims(
        character_id=int(subject[1]),
        character_name=name,
        owner_hash=owner,
        scopes=_scopes(claims.get("scp")),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )


def _scopes(scp: object) -> frozenset[str]:
    """Read `scp`: an array, one string, or nothing."""
    if isinstance(scp, str):
        return frozenset(scp.split())
    return frozenset(map(str, scp)) if isinstance(scp, list) else frozenset()
