"""The results of the probes, one struct per server."""

from datetime import datetime
from typing import Final, Literal

import msgspec

EXACT_ROWS: Final = 100_000
"""The largest count of rows that is exact; larger ones are estimates."""


class Unreachable(msgspec.Struct, frozen=True, tag_field="state", tag="unreachable"):
    """A configured server that is unavailable."""

    reason: str


class Embedded(msgspec.Struct, frozen=True, tag_field="state", tag="embedded"):
    """No server is configured; the embedded part is used."""


class Source(msgspec.Struct, frozen=True):
    """The cursor of a source, and its newest known position."""

    source: str
    position: int | None
    age_s: float
    """Since the position changed."""
    tip: int | None
    """The newest known position of the upstream."""
    checked_age_s: float | None
    """Since the upstream answered."""


class Refusal(msgspec.Struct, frozen=True):
    """The reason of a rejection."""

    reason: str
    age_s: float


class GapFacts(msgspec.Struct, frozen=True):
    """Positions of a source that were skipped permanently."""

    source: str
    first_position: int
    last_position: int
    reason: str
    age_s: float


class UserFacts(msgspec.Struct, frozen=True):
    """The characters that logged in."""

    by_state: dict[str, int]
    overdue: int
    """Active ones whose next sync should have begun long ago."""


class UniverseFacts(msgspec.Struct, frozen=True):
    """The static universe that is loaded."""

    build_number: int | None
    loaded_age_s: float | None
    """None: it isn't loaded yet."""
    checked_age_s: float | None
    """Since the upstream answered."""
    last_error: str | None
    """Of the last check."""


class CompletenessFacts(msgspec.Struct, frozen=True):
    """The days of one state, beside zKillboard's lists."""

    days: int
    missing: int


class TableSize(msgspec.Struct, frozen=True):
    """A table with its indexes, which are part of `total_bytes`."""

    total_bytes: int
    index_bytes: int
    rows: int
    """An estimate above `EXACT_ROWS`."""


class Sizes(msgspec.Struct, frozen=True):
    """The size of the database on disk; of a killmail, with indexes, where its table's is known."""

    database_bytes: int
    bytes_per_killmail: int | None
    attackers_bytes_per_killmail: int | None
    """Of the table of attackers, which isn't part of the former."""
    tables: dict[str, TableSize]
    """The largest ones, the largest first."""


class DatabaseFacts(msgspec.Struct, frozen=True, tag_field="state", tag="answers"):
    """The contents of the database. Ages are None where there is no entry."""

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
    """Without entries that ESI refused: they wait for hours until the refusal is final."""
    holes: int
    """Positions whose file was absent and is requested again."""
    pauses: dict[str, float] = {}
    """What operators have paused, with the seconds since then."""
    universe: UniverseFacts | None = None
    """None before the first check."""
    completeness: dict[str, CompletenessFacts] = {}
    """What audits found, by the state of days."""
    obtainable: int = 0
    """Killmails that are missing of audited days, and that nobody said can't be had."""
    audit_age_s: float | None = None
    """Since the last days were all audited, or since the feed began; None before."""
    users: UserFacts | None = None
    """None unless requested."""
    killmails: int | None = None
    """This and the following take longer: None unless requested. Above `EXACT_ROWS` estimates."""
    rejected: int | None = None
    rejected_oldest_age_s: float | None = None
    latest_rejected: list[Refusal] = []
    gaps: int | None = None
    latest_gaps: list[GapFacts] = []
    names: int | None = None
    history_days: dict[str, int] | None = None
    """Days of history that were requested, by the state of their import."""
    sizes: Sizes | None = None


class QueueFacts(msgspec.Struct, frozen=True):
    """Messages: ready, delayed, dead-lettered. None: the queue isn't declared yet."""

    ready: int | None
    delayed: int | None
    dead: int | None
    consumers: int | None = None
    """Consumers of the queue."""


class RabbitmqFacts(msgspec.Struct, frozen=True, tag_field="state", tag="answers"):
    """The queues of the actors."""

    queues: dict[str, QueueFacts]


class TopicFacts(msgspec.Struct, frozen=True):
    """A topic; `lag` is the consumer group's lag, None where it doesn't consume."""

    partitions: int
    messages: int
    lag: int | None


class KafkaFacts(msgspec.Struct, frozen=True, tag_field="state", tag="answers"):
    """The topics; 0 partitions: not created yet."""

    topics: dict[str, TopicFacts]


class RedisFacts(msgspec.Struct, frozen=True, tag_field="state", tag="answers"):
    """Version and round-trip time."""

    version: str
    ping_ms: float


Part = Literal["database", "feed", "source", "rabbitmq", "kafka", "redis", "gateway"]


class Problem(msgspec.Struct, frozen=True):
    """A problem of one part, in one sentence without addresses or other internals."""

    part: Part
    reason: str


class Facts(msgspec.Struct, frozen=True):
    """The results of all probes at one time."""

    at: datetime
    database: DatabaseFacts | Unreachable
    rabbitmq: RabbitmqFacts | Unreachable | Embedded
    kafka: KafkaFacts | Unreachable | Embedded
    redis: RedisFacts | Unreachable | Embedded
