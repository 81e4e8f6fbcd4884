"""What characters have granted: codes, refresh tokens and access tokens, and whose each is."""

import secrets
from collections import Counter
from typing import Final, NamedTuple

from aiohttp import web

CODE_S: Final = 300
"""How long a code can be exchanged. Source: EVE's SSO documentation."""

_REFRESH_TOKEN_CHARACTERS: Final = 32
_PRUNED_EVERY: Final = 1_000


class Bearer(NamedTuple):
    """Who asks, for which scopes, by which application."""

    character_id: int
    scopes: frozenset[str]
    application_id: str


class Code(NamedTuple):
    """A login that waits to be exchanged."""

    bearer: Bearer
    challenge: str
    """PKCE: the SHA-256 of the verifier."""
    until_s: float


class RefreshToken(NamedTuple):
    """A grant that lasts, and since when its refresh token does."""

    bearer: Bearer
    issued_at_s: float
    withdrawn: bool = False
    """The character took the application's access back."""


class Grants:
    """Holds all grants of this process; a restart forgets them."""

    def __init__(self) -> None:
        self._codes: dict[str, Code] = {}
        self._refresh_tokens: dict[str, RefreshToken] = {}
        self._access_tokens: dict[str, tuple[Bearer, float]] = {}
        self._used: set[str] = set()

    def bearer(self, request: web.Request, now_s: float) -> Bearer | None:
        """Tell whose access token came with a request; None for none, or one that isn't valid."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        bearer, until_s = self._access_tokens.get(token.strip(), (None, 0.0))
        return bearer if now_s < until_s else None

    def give_code(self, bearer: Bearer, challenge: str, now_s: float) -> str:
        """Make a code for a login."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = Code(bearer, challenge, now_s + CODE_S)
        return code

    def take_code(self, code: str, now_s: float) -> Code | None:
        """Use up a code; None when it is unknown, used or too old."""
        taken = self._codes.pop(code, None)
        return taken if taken and now_s < taken.until_s else None

    def give_access_token(self, token: str, bearer: Bearer, until_s: float, now_s: float) -> None:
        """Let a token count until its end, and forget those that ended."""
        self._access_tokens[token] = (bearer, until_s)
        if len(self._access_tokens) % _PRUNED_EVERY == 0:
            held = self._access_tokens.items()
            self._access_tokens = {one: entry for one, entry in held if now_s < entry[1]}

    def give_refresh_token(self, bearer: Bearer, now_s: float) -> str:
        """Make a refresh token."""
        token = secrets.token_urlsafe(_REFRESH_TOKEN_CHARACTERS * 3 // 4)
        self._refresh_tokens[token] = RefreshToken(bearer, now_s)
        return token

    def find_refresh_token(self, token: str) -> RefreshToken | None:
        """Return what a refresh token stands for; None when it is unknown, used up or revoked."""
        return self._refresh_tokens.get(token)

    def rotate(self, token: str, now_s: float) -> str:
        """Use up a refresh token, and make the one that follows it."""
        bearer = self._refresh_tokens.pop(token).bearer
        self._used.add(token)
        return self.give_refresh_token(bearer, now_s)

    def was_rotated(self, token: str) -> bool:
        """Tell whether another refresh token has taken the place of this one."""
        return token in self._used

    def has_shape(self, token: str) -> bool:
        """Tell whether a text could be a refresh token of this SSO's at all."""
        return len(token) == _REFRESH_TOKEN_CHARACTERS

    def revoke(self, token: str) -> None:
        """End a token of either kind; an unknown one is no error."""
        self._access_tokens.pop(token, None)
        self._refresh_tokens.pop(token, None)

    def withdraw(self, character_id: int) -> int:
        """Take back what a character granted so far, as its player can; count the grants.

        Access tokens live on until they expire.
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
        """Count the tokens that are valid, by character and kind."""
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
