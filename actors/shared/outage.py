"""Log each change of a server's availability once."""

import time
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

REMIND_FIRST_S: Final = 60.0
REMIND_MAX_S: Final = 3600.0

log: Final = structlog.get_logger()


def one_line(error: BaseException, limit: int = 300) -> str:
    """Format an error in one line of bounded length; uses its repr when its text is empty."""
    text = " ".join((str(error) or repr(error)).split())
    name = type(error).__name__
    return (text if name in text else f"{name}: {text}")[:limit]


@dataclass
class Outage:
    """The availability of one server. Belongs to one event loop or thread."""

    what: str
    since_s: float | None = None
    """Monotonic seconds; None while it is available."""
    _remind_at_s: float = field(default=0.0, repr=False)
    _pause_s: float = field(default=REMIND_FIRST_S, repr=False)

    def failed(self, error: BaseException | str, **facts: Any) -> None:
        """Record a failure: logs the first, then reminders at growing intervals."""
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
            self._pause_s = min(self._pause_s * 2, REMIND_MAX_S)
        self._remind_at_s = now_s + self._pause_s

    def worked(self) -> None:
        """Record a success; logs it after a failure."""
        if self.since_s is not None:
            down_s = round(time.monotonic() - self.since_s, 1)
            log.info("server.available", what=self.what, down_s=down_s)
            self.since_s = None
