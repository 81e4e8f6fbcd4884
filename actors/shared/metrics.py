"""The metrics that several packages update.

Each process has its own values; `/metrics` shows those of the process that answers, or the sums of
a group of processes.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

RECEIVED: Final = Counter(
    "killstream_killmails_received",
    "References read from a source. Constant: the upstream is idle, unavailable, or bans us.",
    ["source"],
)
STORED: Final = Counter(
    "killstream_killmails_stored",
    "Feed entries committed, by what brought the killmail (live feed, sync, import). Falls behind "
    "received: bodies or the database are the bottleneck.",
    ["kind", "origin"],
)
LATENCY: Final = Histogram(
    "killstream_stage_latency_seconds",
    "Time from one stage of the flow to the next: received to stored (or rejected), stored to "
    "published. Rises: the stage's server or its queue is the bottleneck.",
    ["stage", "origin"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200),
)
HASHES_CORRECTED: Final = Counter(
    "killstream_hashes_corrected",
    "Killmails whose given hash didn't match their body. Rises: an upstream is wrong; the "
    "correct hash is stored.",
)
ZKB_CLEANED: Final = Counter(
    "killstream_zkb_cleaned",
    "Killmails stored with a cleaned zkb block, or without it. Rises: an upstream sends values "
    "that a database can't store; the log names the killmails.",
)
TRUNCATED: Final = Counter(
    "killstream_messages_truncated",
    "Messages too large for their Kafka topic, sent without some fields. Rises: raise the "
    "topic's max.message.bytes.",
    ["topic"],
)
REJECTED: Final = Counter(
    "killstream_killmails_rejected",
    "Killmails recorded as rejected. Rises: an upstream changed its format; read the reasons.",
)
PUBLISHED: Final = Counter(
    "killstream_killmails_published",
    "Feed entries published to topic and channel. Behind stored: Kafka or Redis is unavailable.",
)
DELIVERIES: Final = Counter(
    "killstream_deliveries",
    "Entries delivered to GraphQL subscriptions. Its rate is the fan-out of this process.",
)
SUBSCRIBERS: Final = Gauge(
    "killstream_subscribers",
    "Open subscriptions. Drops to 0: clients lost the connection to this process.",
)
SUBSCRIBERS_CLOSED: Final = Counter(
    "killstream_subscribers_closed",
    "Subscriptions closed by the gateway. Rises: clients read too slowly, or request too much.",
    ["reason"],
)
EVENTS_DROPPED: Final = Counter(
    "killstream_events_dropped",
    "Messages dropped because their reader was too slow. Rises: a process is overloaded; the "
    "gateway reads the missing entries from the feed table.",
)
EVENTS_FOREIGN: Final = Counter(
    "killstream_events_foreign",
    "Entries of another feed, ignored. Rises: two deployments share a channel; set a namespace.",
)
EVENTS_SUBSCRIBED: Final = Counter(
    "killstream_events_subscribed",
    "Subscriptions confirmed by Redis. Rises: connections break and are reopened.",
)
GAPS_FILLED: Final = Counter(
    "killstream_gaps_filled",
    "Feed entries read from the table because their message was missing. Rises: messages are lost.",
)
SKIPPED: Final = Counter(
    "killstream_killmails_skipped",
    "Killmails received again without a change. Rises fast: a replay, or the ledger is re-read.",
)
ERRORS: Final = Counter(
    "killstream_errors",
    "Messages whose actor failed, to be retried. Rises: read the tracebacks in the log.",
)
