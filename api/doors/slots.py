"""How many requests of a door may be open: of one client, and of all together."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from actors.shared.errors import KillstreamError
from api.doors.metrics import CONNECTIONS, REFUSED


class TooMany(KillstreamError):
    """A client, or all of them, have too many requests of this door open; says which."""


class Slots:
    """Counts what is open of one door in this process."""

    def __init__(self, door: str, per_client: int, in_all: int) -> None:
        self.door: Final = door
        self._per_client = per_client
        self._in_all = in_all
        self._open: Counter[str] = Counter()

    @contextmanager
    def taken(self, client: str) -> Iterator[None]:
        """Count one of a client while the block runs.

        Raises:
            TooMany: it has as many as it may.
        """
        if self._open[client] >= self._per_client:
            REFUSED.labels(self.door).inc()
            raise TooMany(f"your address has {self._per_client} of these open, which is the limit")
        if self._open.total() >= self._in_all:
            REFUSED.labels(self.door).inc()
            raise TooMany("too many clients are connected; try again later")
        self._open[client] += 1
        try:
            with CONNECTIONS.labels(self.door).track_inprogress():
                yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
