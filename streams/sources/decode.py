"""Understanding what the upstreams give. Any bytes give an outcome, never an exception. No I/O.

Source: zKillboard's `cron/9.queueSequences.php` and RedisQ's README (read 2026-11-21).
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from actors.shared.killmail import MAX_BODY_BYTES, Id, KillmailHash
from actors.shared.reference import Reference


@dataclass(frozen=True, slots=True)
class Found:
    """A killmail; `zkb` and `body` are the very bytes that came, empty when there were none."""

    killmail_id: int
    killmail_hash: str
    zkb: msgspec.Raw
    body: msgspec.Raw
    uploaded_at: float | None = None
    """Unix seconds of this version, where the upstream says."""
    updated: int | None = None
    """An older place whose file was rewritten since."""

    def reference(self, source: str, position: int, received_at: float) -> Reference:
        """Make the message that goes on."""
        return Reference(
            source=source,
            position=position,
            as_of=received_at if self.uploaded_at is None else self.uploaded_at,
            killmail_id=self.killmail_id,
            hash=self.killmail_hash,
            zkb=self.zkb,
            body=self.body,
        )


@dataclass(frozen=True, slots=True)
class Nothing:
    """A place that holds no killmail, by design of the upstream."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """No killmail and not by design. What isn't JSON may read well a moment later."""

    reason: str
    may_pass: bool


Outcome = Found | Nothing | Garbage

_NONE: Final = msgspec.Raw()
_UnixSeconds = Annotated[float, msgspec.Meta(ge=0, lt=2**35)]  # any year that datetime knows


class _Document(msgspec.Struct, frozen=True, gc=False):
    killmail_id: Id | None
    hash: KillmailHash | None
    esi: msgspec.Raw = _NONE
    zkb: msgspec.Raw = _NONE
    uploaded_at: _UnixSeconds | None = None
    sequence_updated: Id | None = None


class _Package(msgspec.Struct, frozen=True, gc=False):
    killID: Id
    zkb: msgspec.Raw
    killmail: msgspec.Raw = _NONE


class _Poll(msgspec.Struct, frozen=True, gc=False):
    package: _Package | None


class _Hashed(msgspec.Struct, frozen=True, gc=False):
    hash: KillmailHash


class _Sequence(msgspec.Struct, frozen=True, gc=False):
    sequence: Id


_document: Final = msgspec.json.Decoder(_Document)
_poll: Final = msgspec.json.Decoder(_Poll)
_hashed: Final = msgspec.json.Decoder(_Hashed)
_sequence: Final = msgspec.json.Decoder(_Sequence)
_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode_document(value: bytes) -> Outcome:
    """Read one numbered file of R2Z2."""
    try:
        document = _checked(_document, value)
        if document.killmail_id is None:
            return Nothing()
        if document.hash is None:
            return Garbage("not a killmail document: hash is null", may_pass=False)
        return Found(
            killmail_id=document.killmail_id,
            killmail_hash=document.hash,
            zkb=_object(document.zkb, "zkb"),
            body=_object(document.esi, "esi"),
            uploaded_at=document.uploaded_at,
            updated=document.sequence_updated,
        )
    except _ERRORS as error:
        return _garbage(value, error, "a killmail document")


def decode_package(value: bytes) -> Outcome:
    """Read one answer of RedisQ, with or without the killmail in it."""
    try:
        package = _checked(_poll, value).package
        if package is None:
            return Nothing()
        zkb = _object(package.zkb, "zkb")
        return Found(
            killmail_id=package.killID,
            killmail_hash=_hashed.decode(zkb or b"{}").hash,
            zkb=zkb,
            body=_object(package.killmail, "killmail"),
        )
    except _ERRORS as error:
        return _garbage(value, error, "a RedisQ package")


def decode_sequence(value: bytes) -> int | None:
    """Read `sequence.json`; None when it says nothing of use."""
    try:
        return _sequence.decode(value).sequence
    except _ERRORS:
        return None


def _checked(decoder: Any, value: bytes) -> Any:
    if len(value) > MAX_BODY_BYTES:
        raise msgspec.ValidationError(f"over the limit of {MAX_BODY_BYTES} bytes")
    if not value.isascii():
        value.decode()  # raw slices aren't checked by the decoder
    return decoder.decode(value)


def _object(raw: msgspec.Raw, name: str) -> msgspec.Raw:
    """Take a JSON object as it came; null is as good as absent."""
    start = bytes(memoryview(raw)[:4])
    if start in (b"", b"null"):
        return _NONE
    if start[:1] != b"{":
        raise msgspec.ValidationError(f"Expected `object`, got something else - at `$.{name}`")
    return raw


def _garbage(value: bytes, error: Exception, what: str) -> Garbage:
    if isinstance(error, msgspec.ValidationError):
        return Garbage(f"not {what}: {error}", may_pass=False)
    kind = "HTML" if value.lstrip()[:1] == b"<" else f"no JSON ({error})"
    return Garbage(f"not {what}: {kind}", may_pass=True)
