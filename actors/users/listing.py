"""Select the characters that logged in."""

import re
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, or_, select

from actors.shared.tables import USERS

MAX_ID: Final = 2**63 - 1


def select_users(
    name: str | None = None, state: str | None = None, premium: bool | None = None
) -> Select[Any]:
    """Build the query for characters, by name.

    Args:
        name: A part of the name in any case, or the id.
        state: `active` or `login_required`.
        premium: Whether they are premium users.
    """
    wanted: list[ColumnElement[bool]] = []
    if state:
        wanted.append(USERS.c.state == state)
    if premium is not None:
        wanted.append(USERS.c.is_premium == premium)
    if name:
        # The pattern is a parameter: `databases` takes no % in the statement.
        pattern = "%" + re.sub("([%_/])", r"/\1", name.lower()) + "%"
        named = func.lower(USERS.c.character_name).like(pattern, escape="/")
        has_id = name.isdecimal() and int(name) <= MAX_ID
        wanted.append(or_(named, USERS.c.character_id == int(name)) if has_id else named)
    return select(USERS).where(*wanted).order_by(USERS.c.character_name, USERS.c.character_id)
