"""How requests for history fail, and how long to wait then."""

from typing import Final

from actors.shared.errors import KillstreamError, RetryLater

BUSY_MS: Final = 60_000
"""Delay after a failure."""
BANNED_MS: Final = 600_000
"""Delay after a refusal of our address."""


class Banned(RetryLater):
    """The upstream refuses this address: no process may send it requests meanwhile."""


class Unreadable(KillstreamError):
    """The upstream's answer can't be used, or it says that the request is wrong: don't retry."""


class NoSuchDay(KillstreamError):
    """The upstream has no killmails of that day, or none yet."""
