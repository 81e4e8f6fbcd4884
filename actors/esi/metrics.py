"""The metrics of the ESI client. None has a label for each character."""

from typing import Final

from prometheus_client import Counter, Gauge

from actors.esi.budget import ALL, GROUPS, TRANQUILITY

REQUESTS: Final = Counter(
    "killstream_esi_requests",
    "Responses of ESI. 420 or 429 occur: another program uses up the limits of this address.",
    ["group", "status"],
)
PAUSES: Final = Counter(
    "killstream_esi_pauses",
    "Pauses of requests to ESI. Rises: ESI is overloaded, down, or limits us; read the log.",
    ["scope"],
)
TOKENS_LEFT: Final = Gauge(
    "killstream_esi_tokens_left",
    "Tokens left in a group's budget, by ESI; in a group with a budget for each character, those "
    "of the character that was asked for last. Near 0: requests of this group wait, which is no "
    "error. Falls faster than we spend: others share this address.",
    ["group"],
    multiprocess_mode="mostrecent",
)

# So that the first of these is a rise, and not a new series.
for _group in GROUPS:
    for _status in (200, 420, 429):
        REQUESTS.labels(group=_group, status=_status)
for _scope in (*GROUPS, ALL, TRANQUILITY):
    PAUSES.labels(scope=_scope)
