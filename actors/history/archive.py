"""A day's killmails as an upstream gives them, not yet checked."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple


class Archived(NamedTuple):
    """A killmail of an archive."""

    body: bytes
    """ESI's object, as the archive has it."""
    killmail_hash: str
    """As the archive says; empty when it doesn't."""


class Refused(NamedTuple):
    """What an archive has that isn't an object."""

    reason: str
    text: bytes


class Archive(NamedTuple):
    """A day's archive."""

    unpack: Callable[[], Iterator[Archived | Refused]]
    """Yields the killmails; raises `Unreadable` where the archive is damaged."""
    without_body: Mapping[int, str]
    """Killmails that the upstream only names, with their hashes."""
