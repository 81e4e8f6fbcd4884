"""What upstreams give of days: totals, and killmails that aren't checked yet."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Final, NamedTuple

import msgspec

from actors.history.errors import BUSY_MS
from actors.shared.errors import DECODE_ERRORS, RetryLater
from actors.shared.outage import one_line

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_TOTALS: Final = msgspec.json.Decoder(dict[str, _Count])


def parse_totals(text: bytes, whose: str) -> dict[date, int]:
    """Parse a `totals.json`: how many killmails there are of each day, YYYYMMDD.

    Raises:
        RetryLater: it is something else.
    """
    try:
        return {
            datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date(): count
            for day, count in _TOTALS.decode(text).items()
        }
    except (*DECODE_ERRORS, ValueError) as error:
        reason = f"{whose} totals.json: {one_line(error)}"
        raise RetryLater(reason, delay_ms=BUSY_MS) from None


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
