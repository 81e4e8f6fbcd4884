"""Decode ESI's JSON: unknown fields are ignored, absent ones take their default."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from actors.shared.errors import DECODE_ERRORS, Invalid

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def decoder_of(type_: type[T]) -> Callable[[bytes], T]:
    """Return a function that decodes a body and raises `Invalid` when it isn't of this type."""
    decoder = msgspec.json.Decoder(type_)

    def decode(body: bytes) -> T:
        try:
            return decoder.decode(body)
        except DECODE_ERRORS as error:
            raise Invalid(str(error)) from None

    return decode


def struct_decoder(type_: type[S]) -> Callable[[bytes], S]:
    """Like `decoder_of`; also removes NULs from texts, which PostgreSQL can't store."""
    decode = decoder_of(type_)
    return lambda body: _without_nuls(decode(body))


def _without_nuls(struct: S) -> S:
    texts = {
        name: value.replace("\0", "")
        for name, value in msgspec.structs.asdict(struct).items()
        if isinstance(value, str) and "\0" in value
    }
    return msgspec.structs.replace(struct, **texts) if texts else struct
