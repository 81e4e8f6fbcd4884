"""Random secrets that users hold, and the hashes under which the database knows them."""

import hashlib
import re
import secrets
from typing import Final

_FORM: Final = re.compile(r"[\w-]{43}", re.ASCII)


def new_secret() -> str:
    """Make a random secret of 256 bits, safe in URLs, cookies and headers."""
    return secrets.token_urlsafe(32)


def is_secret(text: str) -> bool:
    """Tell whether a text has the form of `new_secret`; nothing is known under another one."""
    return _FORM.fullmatch(text) is not None


def hash_of(secret: str) -> str:
    """Return the SHA-256 of a secret; random secrets need no salt."""
    return hashlib.sha256(secret.encode()).hexdigest()
