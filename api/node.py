"""Global ids, by which clients tell objects of all types apart, as Relay defines them."""

from base64 import b64decode, urlsafe_b64encode
from typing import Any, Final

from ariadne import InterfaceType

from api.errors import BadInput
from api.scalars import serialize_long

NODE: Final = InterfaceType("Node")


def encode_id(of_type: str, number: int) -> str:
    """Encode the global id of an object."""
    return urlsafe_b64encode(f"{of_type}:{number}".encode()).decode().rstrip("=")


def decode_id(text: str) -> tuple[str, int]:
    """Decode a global id to the name of a type and the object's own id.

    Raises:
        BadInput: the text isn't one.
    """
    try:
        padded = text + "=" * (-len(text) % 4)
        of_type, number = b64decode(padded, altchars=b"-_", validate=True).decode().split(":")
        return of_type, serialize_long(int(number))
    except ValueError:
        raise BadInput("id: not a global id; use the field `id` of an object") from None


@NODE.type_resolver
def resolve_type(source: Any, *_: Any) -> str:
    """Return the type of an object."""
    name: str = source.type_name
    return name
