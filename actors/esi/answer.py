"""ESI's responses: body, rate limit headers, error text."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import aiohttp
import msgspec

from actors.shared.errors import DECODE_ERRORS, Invalid
from actors.shared.killmail import MAX_BODY_BYTES

DEFAULT_PAUSE_MS: Final = 60_000
"""Pause after a response that gives no time to wait, or has an undocumented status (403 …)."""
MAX_ERROR_CHARACTERS: Final = 200


class EsiName(msgspec.Struct, frozen=True, gc=False):
    """One element of the response of `/universe/names`."""

    id: int
    name: str
    category: str


class Denial(Enum):
    """Why ESI denies an authenticated request."""

    TOKEN = auto()
    """The token is missing, expired, revoked, or lacks the scope."""
    CHARACTER = auto()
    """The token's character lacks a role or isn't in the corporation."""
    SSO_FAILED = auto()
    """EVE's login server failed, so ESI couldn't check the token."""


class _Error(msgspec.Struct):
    error: str
    sso_status: object = None


_error_decoder: Final = msgspec.json.Decoder(_Error)
_names_decoder: Final = msgspec.json.Decoder(list[EsiName])


@dataclass(frozen=True)
class Answer:
    """One response. The body is complete and decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def number(self, header: str) -> int | None:
        """Read a header as an integer; None when it is absent or not an integer."""
        value = self.headers.get(header, "")
        return int(value) if value.isascii() and value.isdigit() else None

    def ms(self, header: str) -> int:
        """Read a header in seconds as milliseconds; `DEFAULT_PAUSE_MS` when it is absent."""
        seconds = self.number(header)
        return DEFAULT_PAUSE_MS if seconds is None else seconds * 1000

    @property
    def error(self) -> str:
        """Describe a refusal in one printable line: ESI's own error text, never a whole body."""
        error = self._decode_error()
        if error is None:
            return f"{len(self.body)} bytes without an error text"
        return "".join(c if c.isprintable() else " " for c in error.error[:MAX_ERROR_CHARACTERS])

    @property
    def denial(self) -> Denial | None:
        """Tell why a request with a token was denied; None when it isn't about token or character.

        A 403 without ESI's error text, such as a page of a proxy, is about the whole address.
        """
        if self.status not in (401, 403):
            return None
        error = self._decode_error()
        sso_status = error.sso_status if error else None
        if isinstance(sso_status, int) and sso_status >= 500:
            return Denial.SSO_FAILED
        if self.status == 401 or sso_status is not None:
            return Denial.TOKEN
        if error is None:
            return None
        return Denial.TOKEN if "token" in error.error.lower() else Denial.CHARACTER

    def _decode_error(self) -> _Error | None:
        try:
            return _error_decoder.decode(self.body)
        except DECODE_ERRORS:
            return None


def decode_names(body: bytes, wanted: Collection[int]) -> list[EsiName]:
    """Decode a response of `/universe/names`; removes NULs, which PostgreSQL can't store.

    Raises:
        Invalid: the response isn't a list of names, or its ids aren't those asked for.
    """
    try:
        found = _names_decoder.decode(body)
    except DECODE_ERRORS as error:
        raise Invalid(f"not a list of names: {error}") from None
    if {name.id for name in found} != set(wanted):
        raise Invalid("the ids in the response aren't those in the request")
    return [
        EsiName(name.id, name.name.replace("\0", ""), name.category.replace("\0", ""))
        for name in found
    ]


def tokens_of(status: int) -> int:
    """Return how many rate limit tokens a response with this status costs."""
    if status == 429 or status >= 500:
        return 0
    return {2: 2, 3: 1}.get(status // 100, 5)


async def read_answer(
    response: aiohttp.ClientResponse,
    secret: str | None = None,
    *,
    max_bytes: int = MAX_BODY_BYTES,
) -> Answer:
    """Read a response; stops reading the body once it exceeds `max_bytes`.

    The secret is masked in the body, in case ESI repeats it in an error.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            response.close()
            break
    if secret:
        body = body.replace(secret.encode(), b"***")
    return Answer(response.status, response.headers, bytes(body))
