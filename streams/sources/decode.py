"""Decode the upstreams' responses. Any bytes give an outcome, never an exception. No I/O.

Source: zKillboard's `cron/9.queueSequences.php` and RedisQ's README (read 2026-11-21).
"""

import re
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from actors.shared.errors import DECODE_ERRORS
from actors.shared.killmail import MAX_BODY_BYTES, Id
from actors.shared.reference import NO_JSON, Reference, UnixSeconds, clean_hash, is_hash


@dataclass(frozen=True, slots=True)
class Found:
    """A killmail; `zkb` and `body` are the bytes received, empty when absent."""

    killmail_id: int
    killmail_hash: str
    """Trimmed and in lower case; well-formed when there is no body."""
    zkb: msgspec.Raw
    body: msgspec.Raw
    uploaded_at: float = 0.0
    """Unix seconds of this version by the upstream's clock; 0 where it doesn't say."""
    updated: int | None = None
    """An older position whose file was rewritten since."""

    def reference(self, source: str, position: int) -> Reference:
        """Make the reference to send."""
        return Reference(
            source=source,
            position=position,
            as_of=self.uploaded_at,
            killmail_id=self.killmail_id,
            hash=self.killmail_hash,
            zkb=self.zkb,
            body=self.body,
        )


@dataclass(frozen=True, slots=True)
class Nothing:
    """A position without a killmail, by design of the upstream."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """An invalid response. One that isn't JSON may be readable later (`may_pass`)."""

    reason: str
    may_pass: bool


Outcome = Found | Nothing | Garbage


class _Document(msgspec.Struct, frozen=True, gc=False):
    killmail_id: Id | None
    hash: msgspec.Raw = NO_JSON
    esi: msgspec.Raw = NO_JSON
    zkb: msgspec.Raw = NO_JSON
    uploaded_at: msgspec.Raw = NO_JSON
    sequence_updated: msgspec.Raw = NO_JSON


class _Package(msgspec.Struct, frozen=True, gc=False):
    killID: Id
    zkb: msgspec.Raw = NO_JSON
    killmail: msgspec.Raw = NO_JSON


class _Poll(msgspec.Struct, frozen=True, gc=False):
    package: _Package | None


class _Hashed(msgspec.Struct, frozen=True, gc=False):
    hash: msgspec.Raw = NO_JSON


class _Sequence(msgspec.Struct, frozen=True, gc=False):
    sequence: Id


_document: Final = msgspec.json.Decoder(_Document)
_poll: Final = msgspec.json.Decoder(_Poll)
_hashed: Final = msgspec.json.Decoder(_Hashed)
_sequence: Final = msgspec.json.Decoder(_Sequence)
_text: Final = msgspec.json.Decoder(str)
_seconds: Final = msgspec.json.Decoder(UnixSeconds)
_number: Final = msgspec.json.Decoder(Id)
_OBJECT: Final = re.compile(rb"\{\s*[^\s}]")
_SURROGATES: Final = re.compile(
    rb"(\\u[dD][89abAB]..\\u[dD][c-fC-F]..)|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""Surrogate pairs, and lone surrogates, which are invalid and must be replaced."""
T = TypeVar("T")


def decode_document(value: bytes) -> Outcome:
    """Decode one numbered file of R2Z2."""
    try:
        document = _checked(_document, value)
    except DECODE_ERRORS as error:
        return _garbage(value, error, "a killmail document")
    if document.killmail_id is None:
        return Nothing()
    return _found(
        Found(
            killmail_id=document.killmail_id,
            killmail_hash=clean_hash(_lenient(_text, document.hash) or ""),
            zkb=_object(document.zkb),
            body=_object(document.esi),
            uploaded_at=_lenient(_seconds, document.uploaded_at) or 0.0,
            updated=_lenient(_number, document.sequence_updated),
        ),
        "a killmail document",
    )


def decode_package(value: bytes, *, bodies: bool = False) -> Outcome:
    """Decode one response of RedisQ, with or without a killmail.

    Args:
        value: the response.
        bodies: whether a body in it is ESI's own; some servers write theirs.
    """
    try:
        package = _checked(_poll, value).package
        if package is None:
            return Nothing()
        zkb = _object(package.zkb)
        hash_ = _hashed.decode(zkb or b"{}").hash
    except DECODE_ERRORS as error:
        return _garbage(value, error, "a RedisQ package")
    return _found(
        Found(
            killmail_id=package.killID,
            killmail_hash=clean_hash(_lenient(_text, hash_) or ""),
            zkb=zkb,
            body=_object(package.killmail) if bodies else NO_JSON,
        ),
        "a RedisQ package",
    )


def decode_sequence(value: bytes) -> int | None:
    """Decode `sequence.json`; None when it is invalid."""
    try:
        return _sequence.decode(value).sequence
    except DECODE_ERRORS:
        return None


def _found(found: Found, what: str) -> Found | Garbage:
    if found.body or is_hash(found.killmail_hash):
        return found
    return Garbage(f"not {what}: no body, and no hash to fetch it by", may_pass=False)


def _checked(decoder: Any, value: bytes) -> Any:
    if len(value) > MAX_BODY_BYTES:
        raise msgspec.ValidationError(f"over the limit of {MAX_BODY_BYTES} bytes")
    if not value.isascii():
        value.decode()  # raw slices aren't checked by the decoder
    try:
        return decoder.decode(value)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        mended = _SURROGATES.sub(lambda match: match[1] or rb"\ufffd", value)
        if mended == value:
            raise
        return decoder.decode(mended)


def _object(raw: msgspec.Raw) -> msgspec.Raw:
    """Return a non-empty JSON object unchanged; everything else counts as absent."""
    return raw if _OBJECT.match(raw) else NO_JSON


def _lenient(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw) -> T | None:
    """Decode an optional field; None when it is invalid."""
    try:
        return decoder.decode(raw) if raw else None
    except DECODE_ERRORS:
        return None


def _garbage(value: bytes, error: Exception, what: str) -> Garbage:
    if isinstance(error, msgspec.ValidationError):
        return Garbage(f"not {what}: {error}", may_pass=False)
    kind = "HTML" if value.lstrip()[:1] == b"<" else f"no JSON ({error})"
    return Garbage(f"not {what}: {kind}", may_pass=True)
