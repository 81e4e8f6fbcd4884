"""Every Kafka topic: name, key, value, partitions, retention. Declared here, created at start.

Keys are the killmail_id as decimal text (empty when unknown), so that one killmail's messages stay
in order. Values are JSON, versioned by `"v"`.
"""

from dataclasses import dataclass
from typing import Final

DAY_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Topic:
    """One topic. Partitions can grow, never shrink."""

    name: str
    holds: str
    partitions: int
    retention_ms: int


RECEIVED: Final = Topic("killmails.received", "references as the sources gave them", 4, 2 * DAY_MS)
REJECTED: Final = Topic(
    "killmails.rejected", "what was refused, whole, with the reason", 1, 30 * DAY_MS
)
STORED: Final = Topic(
    "killmails.stored", "entries of the feed, at least once, after their commit", 4, 14 * DAY_MS
)

TOPICS: Final = (RECEIVED, REJECTED, STORED)
