"""Encrypt what must stay secret in the database: tokens, and the verifiers of logins.

Ciphertexts are Fernet's (AES-128-CBC with HMAC-SHA256), made with the first of the configured keys;
the others only decrypt, so that keys can be replaced one after another.
"""

from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from actors.shared.errors import KillstreamError, Misconfigured
from actors.shared.settings import Settings

NEW_KEY: Final = "`killstream keys new` makes one"


class Undecryptable(KillstreamError):
    """A value was encrypted with a key that isn't configured any more."""

    exit_code = 2


class Vault:
    """Encrypts with the newest key and decrypts with any."""

    def __init__(self, keys: list[Fernet]) -> None:
        self._keys = MultiFernet(keys)

    def __repr__(self) -> str:
        return "Vault()"

    def encrypt(self, secret: str) -> bytes:
        """Encrypt with the newest key."""
        return self._keys.encrypt(secret.encode())

    def decrypt(self, encrypted: bytes) -> str:
        """Decrypt with the key that encrypted the value.

        Raises:
            Undecryptable: none of the keys did.
        """
        try:
            return self._keys.decrypt(encrypted).decode()
        except InvalidToken:
            raise _undecryptable() from None

    def rotate(self, encrypted: bytes) -> bytes:
        """Encrypt again with the newest key.

        Raises:
            Undecryptable: none of the keys encrypted the value.
        """
        try:
            return self._keys.rotate(encrypted)
        except InvalidToken:
            raise _undecryptable() from None


def open_vault(settings: Settings) -> Vault:
    """Make the vault with the configured keys.

    Raises:
        Misconfigured: there is no key, or one isn't a Fernet key.
    """
    texts = [text.strip() for text in settings.token_keys.get_secret_value().split(",")]
    keys = [text for text in texts if text]
    if not keys:
        raise Misconfigured(f"set KILLSTREAM_TOKEN_KEYS: users log in; {NEW_KEY}")
    try:
        return Vault([Fernet(key) for key in keys])
    except ValueError:  # its text may contain the key
        raise Misconfigured(
            f"KILLSTREAM_TOKEN_KEYS has an invalid key: 32 bytes in base64; {NEW_KEY}"
        ) from None


def _undecryptable() -> Undecryptable:
    return Undecryptable(
        "a token was encrypted with a key that KILLSTREAM_TOKEN_KEYS lacks: append the former key"
    )
