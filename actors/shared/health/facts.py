"""What the probes find out: one struct a server."""

from datetime import datetime
from typing import Literal

import msgspec


class Unreachable(msgspec.Struct, frozen=True, tag_field="state", tag="unreachable"):
    """A server that the settings name and that can't be used."""

    reason: str


class Embedded(msgspec.Struct, frozen=True, tag_field="state", tag="embedded"):
    """No server is named."""


class Source(msgspec.Struct, frozen=True):
    """How far a source was read, and what its upstream is known to have."""

    source: str
    position: int | None
    age_s: float
    """Since the position changed."""
    tip: int | None
    """The newest position that the upstream is known to have."""
    checked_age_s: float | None
    """Since the upstream answered."""


class Refusal(msgspec.Struct, frozen=True):
    """Why something was refused."""

    reason: str
    age_s: float


class DatabaseFacts(msgspec.Struct, frozen=True, tag_field="state", tag="answers"):
    """What is stored. Ages are None where there is nothing to have one."""

    revision: str
    """Of the schema."""
    last_sequence: int
    last_stored_age_s: float | None
    unpublished: int
    unpublished_oldest_age_s: float | None
    sources: list[Source]
    ledger: int
    """Entries that wait to be stored or rejected; holes are counted apart."""
    ledger_oldest_age_s: float | None
    """Of those that ESI hasn't refused: a refused one waits for hours, until that is believed."""
    holes: int
    """Positions whose file was absent and is asked for again."""
    killmails: int | None = None
    """This and what follows takes time on large tables: None where it wasn't asked for."""
    rejected: int | None = None
    latest_rejected: list[Refusal] = []
    names: int | None = None


class QueueFacts(msgspec.Struct, frozen=True):
    """Messages that wait: ready to run, put off, given up. None: nobody declared the queue yet."""

    ready: int | None
    delayed: int | None
    dead: int | None
    consumers: int | None = None
    """Processes that take from the queue."""


class RabbitmqFacts(msgspec.Struct, frozen=True, tag_field="state", tag="answers"):
    """The queues of the actors."""

    queues: dict[str, QueueFacts]


class TopicFacts(msgspec.Struct, frozen=True):
    """A topic; `lag` is what the group has yet to read, None where it doesn't read."""

    partitions: int
    messages: int
    lag: int | None


class KafkaFacts(msgspec.Struct, frozen=True, tag_field="state", tag="answers"):
    """The topics; 0 partitions: not created yet."""

    topics: dict[str, TopicFacts]


class RedisFacts(msgspec.Struct, frozen=True, tag_field="state", tag="answers"):
    """Whether it answers, and how fast."""

    version: str
    ping_ms: float


Part = Literal["database", "feed", "source", "rabbitmq", "kafka", "redis", "gateway"]


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a part, in a sentence without addresses or other insides."""

    part: Part
    reason: str


class Facts(msgspec.Struct, frozen=True):
    """All of it, at one time."""

    at: datetime
    database: DatabaseFacts | Unreachable
    rabbitmq: RabbitmqFacts | Unreachable | Embedded
    kafka: KafkaFacts | Unreachable | Embedded
    redis: RedisFacts | Unreachable | Embedded
