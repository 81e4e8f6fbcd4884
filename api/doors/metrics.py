"""Metrics of the doors."""

from typing import Final

from prometheus_client import Counter, Gauge

CONNECTIONS: Final = Gauge(
    "killstream_door_connections",
    "Open streams, websockets, polls and exports of the doors beside GraphQL.",
    ["door"],
)
DELIVERIES: Final = Counter(
    "killstream_door_deliveries",
    "Killmails and days given to clients of the doors beside GraphQL.",
    ["door"],
)
REFUSED: Final = Counter(
    "killstream_door_refusals",
    "Requests refused by the doors beside GraphQL because their client has too many. Rises: a "
    "client opens connections and leaves them, or many share one address.",
    ["door"],
)
