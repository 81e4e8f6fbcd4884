"""Parameters of requests."""

import re
from typing import Final

from starlette.requests import Request

from api.errors import BadInput

MAX_SEQUENCE: Final = 2**63 - 1


def one(request: Request, name: str) -> str | None:
    """Return a parameter that may be given once; None when it isn't given.

    Raises:
        BadInput: it is given several times.
    """
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise BadInput(f"{name}: must be given once, and is given {len(given)} times")
    return given[0] if given else None


def whole_number(name: str, text: str | None) -> int | None:
    """Read a whole number from 0 up to that of the last id; None when it isn't given.

    Raises:
        BadInput: it is none.
    """
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,19}", text) or (number := int(text)) > MAX_SEQUENCE:
        raise BadInput(f"{name}: must be a whole number from 0 to {MAX_SEQUENCE}")
    return number
