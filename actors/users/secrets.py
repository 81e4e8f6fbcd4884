"""Random secrets that users hold, and the hashes under which the database knows them."""

import hashlib
import secrets


def new_secret() -> str:
    """Make a random secret of 256 bits, safe in URLs, cookies and headers."""
    return secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """Return the SHA-256 of a secret; random secrets need no salt."""
    return hashlib.sha256(secret.encode()).hexdigest()
