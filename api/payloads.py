"""The encoded results of one event, shared by the clients that ask for the same."""

from typing import Final

Key = tuple[object, ...]
"""Document, operation and variables: a result depends on nothing else."""

MAX_PAYLOADS: Final = 16
FREE_BYTES: Final = 64 * 1024
PER_BYTE: Final = 4
"""Bytes of results for each byte of the event; all fields of real killmails take 1.1 to 3.5."""


class Payloads:
    """Bounded in number and in bytes; what isn't kept is made anew for each client."""

    def __init__(self, event_bytes: int = 0) -> None:
        self._by_key: dict[Key, bytes] = {}
        self._left = FREE_BYTES + PER_BYTE * event_bytes

    def get(self, key: Key) -> bytes | None:
        """Return a result."""
        return self._by_key.get(key)

    def add(self, key: Key, payload: bytes) -> None:
        """Keep a result if there is room for it."""
        if len(self._by_key) < MAX_PAYLOADS and len(payload) <= self._left:
            self._left -= len(payload)
            self._by_key[key] = payload
