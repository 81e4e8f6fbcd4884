"""What an operator can watch: the counters and gauges that several packages raise.

Each process counts its own; `/metrics` shows those of the process that answers, or those of a group
of processes summed up.
"""

from typing import Final

from prometheus_client import Counter, Gauge

RECEIVED: Final = Counter(
    "killstream_killmails_received",
    "References taken from a source. Stands still: the upstream is quiet, away, or has banned us.",
    ["source"],
)
STORED: Final = Counter(
    "killstream_killmails_stored",
    "Feed entries committed. Falls behind received: bodies or the database are the bottleneck.",
    ["kind"],
)
HASHES_CORRECTED: Final = Counter(
    "killstream_hashes_corrected",
    "Killmails whose given hash wasn't the one of their body. Rises: an upstream errs; what is "
    "stored has the right one.",
)
ZKB_CLEANED: Final = Counter(
    "killstream_zkb_cleaned",
    "Killmails stored with a cleaned zkb block, or without it. Rises: an upstream writes values "
    "that no database holds; the log names the killmails.",
)
TRUNCATED: Final = Counter(
    "killstream_messages_truncated",
    "Messages too large for their Kafka topic, sent without what made them so. Rises: raise the "
    "topic's max.message.bytes.",
    ["topic"],
)
REJECTED: Final = Counter(
    "killstream_killmails_rejected",
    "Killmails refused and kept aside. Rises: an upstream changed its format; read the reasons.",
)
PUBLISHED: Final = Counter(
    "killstream_killmails_published",
    "Feed entries published to topic and channel. Falls behind stored: Kafka or Redis is away.",
)
DELIVERIES: Final = Counter(
    "killstream_deliveries",
    "Entries handed to GraphQL subscriptions. Its rate is the fan-out that this process carries.",
)
SUBSCRIBERS: Final = Gauge(
    "killstream_subscribers",
    "Subscriptions open now. Falls to 0 at once: clients lost this process.",
)
SUBSCRIBERS_CLOSED: Final = Counter(
    "killstream_subscribers_closed",
    "Subscriptions that we closed. Rises: clients read too slowly, or ask for too much.",
    ["reason"],
)
EVENTS_DROPPED: Final = Counter(
    "killstream_events_dropped",
    "Messages thrown away because their reader was behind. Rises: a process is overloaded; the "
    "gateway reads what it missed from the feed table.",
)
EVENTS_FOREIGN: Final = Counter(
    "killstream_events_foreign",
    "Entries of another feed, refused. Rises: two deployments share a channel; set a namespace.",
)
EVENTS_SUBSCRIBED: Final = Counter(
    "killstream_events_subscribed",
    "Subscriptions that Redis confirmed. Rises: connections break and come back.",
)
GAPS_FILLED: Final = Counter(
    "killstream_gaps_filled",
    "Feed entries read from the table because their message never came. Rises: messages get lost.",
)
SKIPPED: Final = Counter(
    "killstream_killmails_skipped",
    "Killmails that came again and changed nothing. Rises fast: a replay, or a ledger read again.",
)
ERRORS: Final = Counter(
    "killstream_errors",
    "Units of work that broke and were put off for a retry. Rises: read the log's tracebacks.",
)
