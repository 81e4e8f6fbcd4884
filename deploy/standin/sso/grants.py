"""The characters' grants: codes, refresh tokens and access tokens, each with its bearer."""

import secrets
from collections import Counter
from typing import Final, NamedTuple

from aiohttp import web

CODE_S: Final = 300
"""How long a code is valid. Source: EVE's SSO documentation."""

_REFRESH_TOKEN_CHARACTERS: Final = 32
_PRUNED_EVERY: Final = 1_000


class Bearer(NamedTuple):
    """A character, the granted scopes, and the application."""

    character_id: int
    scopes: frozenset[str]
    application_id: str


class Code(NamedTuple):
    """A login whose code wasn't exchanged yet."""

    bearer: Bearer
    challenge: str
    """PKCE: the SHA-256 of the verifier."""
    until_s: float


class RefreshToken(NamedTuple):
    """A permanent grant, and the time when its refresh token was issued."""

    bearer: Bearer
    issued_at_s: float
    withdrawn: bool = False
    """Whether the player revoked the application's access."""


class Grants:
    """All grants, in memory."""

    def __init__(self) -> None:
        self._codes: dict[str, Code] = {}
        self._refresh_tokens: dict[str, RefreshToken] = {}
        self._access_tokens: dict[str, tuple[Bearer, float]] = {}
        self._used: set[str] = set()

    def bearer(self, request: web.Request, now_s: float) -> Bearer | None:
        """Return the bearer of a request's access token; None without a valid one."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        bearer, until_s = self._access_tokens.get(token.strip(), (None, 0.0))
        return bearer if now_s < until_s else None

    def give_code(self, bearer: Bearer, challenge: str, now_s: float) -> str:
        """Issue a code for a login."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = Code(bearer, challenge, now_s + CODE_S)
        return code

    def take_code(self, code: str, now_s: float) -> Code | None:
        """Redeem a code; return None when it is unknown, used or expired."""
        taken = self._codes.pop(code, None)
        return taken if taken and now_s < taken.until_s else None

    def give_access_token(self, token: str, bearer: Bearer, until_s: float, now_s: float) -> None:
        """Register an access token, and delete expired ones."""
        self._access_tokens[token] = (bearer, until_s)
        if len(self._access_tokens) % _PRUNED_EVERY == 0:
            held = self._access_tokens.items()
            self._access_tokens = {one: entry for one, entry in held if now_s < entry[1]}

    def give_refresh_token(self, bearer: Bearer, now_s: float) -> str:
        """Issue a refresh token."""
        token = secrets.token_urlsafe(_REFRESH_TOKEN_CHARACTERS * 3 // 4)
        self._refresh_tokens[token] = RefreshToken(bearer, now_s)
        return token

    def find_refresh_token(self, token: str) -> RefreshToken | None:
        """Return the grant of a refresh token; None when it is unknown, replaced or revoked."""
        return self._refresh_tokens.get(token)

    def rotate(self, token: str, now_s: float) -> str:
        """Replace a refresh token by a new one."""
        bearer = self._refresh_tokens.pop(token).bearer
        self._used.add(token)
        return self.give_refresh_token(bearer, now_s)

    def was_rotated(self, token: str) -> bool:
        """Return whether a refresh token was replaced by another one."""
        return token in self._used

    def has_shape(self, token: str) -> bool:
        """Return whether a text has the format of a refresh token."""
        return len(token) == _REFRESH_TOKEN_CHARACTERS

    def revoke(self, token: str) -> None:
        """Revoke a token of either kind; ignores an unknown one."""
        self._access_tokens.pop(token, None)
        self._refresh_tokens.pop(token, None)

    def withdraw(self, character_id: int) -> int:
        """Revoke a character's grants, as its player can on EVE's website; return their number.

        Access tokens stay valid until they expire.
        """
        of_it = [
            token
            for token, grant in self._refresh_tokens.items()
            if grant.bearer.character_id == character_id
        ]
        for token in of_it:
            grant = self._refresh_tokens[token]
            self._refresh_tokens[token] = grant._replace(withdrawn=True)
        return len(of_it)

    def counted(self, now_s: float) -> dict[int, dict[str, int]]:
        """Return the number of valid tokens by character and kind."""
        refresh_tokens = Counter(
            grant.bearer.character_id
            for grant in self._refresh_tokens.values()
            if not grant.withdrawn
        )
        access_tokens = Counter(
            bearer.character_id
            for bearer, until_s in self._access_tokens.values()
            if now_s < until_s
        )
        return {
            character_id: {
                "refresh_tokens": refresh_tokens[character_id],
                "access_tokens": access_tokens[character_id],
            }
            for character_id in sorted(refresh_tokens | access_tokens)
        }
