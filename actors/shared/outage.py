"""One log line for each change of state: a server goes away, stays away, is back."""

import time
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

REMIND_FIRST_S: Final = 60.0
REMIND_MOST_S: Final = 3600.0

log: Final = structlog.get_logger()


def one_line(error: BaseException, limit: int = 300) -> str:
    """Say an error in one line of bounded length; some say it only in their repr."""
    said = " ".join((str(error) or repr(error)).split())
    name = type(error).__name__
    return (said if name in said else f"{name}: {said}")[:limit]


@dataclass
class Outage:
    """What is known of one server. Belongs to one event loop or thread."""

    what: str
    since_s: float | None = None
    """Monotonic seconds; None while it is available."""
    _remind_at_s: float = field(default=0.0, repr=False)
    _pause_s: float = field(default=REMIND_FIRST_S, repr=False)

    def failed(self, error: BaseException | str, **facts: Any) -> None:
        """Note a failure: the first is logged, then one after growing pauses."""
        reason = error if isinstance(error, str) else one_line(error)
        now_s = time.monotonic()
        if self.since_s is None:
            self.since_s, self._pause_s = now_s, REMIND_FIRST_S
            log.warning("server.unavailable", what=self.what, reason=reason, **facts)
        elif now_s < self._remind_at_s:
            return
        else:
            down_s = round(now_s - self.since_s)
            log.warning("server.still_unavailable", what=self.what, reason=reason, down_s=down_s)
            self._pause_s = min(self._pause_s * 2, REMIND_MOST_S)
        self._remind_at_s = now_s + self._pause_s

    def worked(self) -> None:
        """Note that it is available; logged when it wasn't."""
        if self.since_s is not None:
            down_s = round(time.monotonic() - self.since_s, 1)
            log.info("server.available", what=self.what, down_s=down_s)
            self.since_s = None
