"""What `killstream status` shows, and gives as JSON: one struct a server."""

from datetime import datetime

import msgspec


class Unreachable(msgspec.Struct, frozen=True, tag_field="state", tag="unreachable"):
    """A server that the settings name and that can't be used."""

    reason: str


class Embedded(msgspec.Struct, frozen=True, tag_field="state", tag="embedded"):
    """No server is named."""


class Source(msgspec.Struct, frozen=True):
    """How far a source was read."""

    source: str
    position: int
    age_s: float


class Refusal(msgspec.Struct, frozen=True):
    """Why something was refused."""

    reason: str
    age_s: float


class DatabaseFacts(msgspec.Struct, frozen=True, tag_field="state", tag="answers"):
    """What is stored. Ages are None where there is nothing to have one."""

    killmails: int
    last_sequence: int
    last_stored_age_s: float | None
    unpublished: int
    rejected: int
    latest_rejected: list[Refusal]
    sources: list[Source]
    ledger: int
    ledger_oldest_age_s: float | None
    names: int


class QueueFacts(msgspec.Struct, frozen=True):
    """Messages that wait: ready to run, put off, given up. None: nobody declared the queue yet."""

    ready: int | None
    delayed: int | None
    dead: int | None


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


class Facts(msgspec.Struct, frozen=True):
    """All of it, at one time."""

    ok: bool
    at: datetime
    database: DatabaseFacts | Unreachable
    rabbitmq: RabbitmqFacts | Unreachable | Embedded
    kafka: KafkaFacts | Unreachable | Embedded
    redis: RedisFacts | Unreachable | Embedded
