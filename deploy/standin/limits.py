"""The upstreams' rate limits: floating windows, a fixed error window, a ban; without I/O."""

from collections import deque
from math import ceil


class FloatingWindow:
    """Tokens that are available again one window after they were spent.

    A token spent at T counts as used before T + window.
    """

    def __init__(self, tokens: int, window_s: float) -> None:
        self.tokens = tokens
        self.window_s = window_s
        self.highest_used = 0
        self._spent: deque[tuple[float, int]] = deque()
        self._used = 0

    def used(self, now_s: float) -> int:
        """Return the number of used tokens."""
        spent = self._spent
        while spent and spent[0][0] + self.window_s <= now_s:
            self._used -= spent.popleft()[1]
        return self._used

    def spend(self, now_s: float, cost: int, *, enforce: bool = True) -> bool:
        """Spend tokens; if there are too few, return False and spend none."""
        used = self.used(now_s) + cost
        if enforce and used > self.tokens:
            return False
        if cost:
            self._spent.append((now_s, cost))
        self._used = used
        self.highest_used = max(self.highest_used, used)
        return True

    def retry_after_s(self, now_s: float, cost: int) -> int:
        """Return the whole seconds, at least one, until the cost is available."""
        missing = self.used(now_s) + cost - self.tokens
        for spent_at_s, tokens in self._spent:
            missing -= tokens
            if missing <= 0:
                return max(1, ceil(spent_at_s + self.window_s - now_s))
        return max(1, ceil(self.window_s))


class ErrorBudget:
    """Errors per fixed window; a new window starts with the full number."""

    def __init__(self, errors: int = 100, window_s: float = 60.0) -> None:
        self._errors = errors
        self._window_s = window_s
        self._window = -1
        self._made = 0

    def remaining(self, now_s: float) -> int:
        """Return the number of errors left in this window."""
        self._start_window(now_s)
        return max(0, self._errors - self._made)

    def reset_s(self, now_s: float) -> int:
        """Return the whole seconds, at least one, until the next window."""
        return max(1, ceil(self._window_s - now_s % self._window_s))

    def error(self, now_s: float) -> None:
        """Count one error."""
        self._start_window(now_s)
        self._made += 1

    def _start_window(self, now_s: float) -> None:
        window = int(now_s // self._window_s)
        if window != self._window:
            self._window, self._made = window, 0


class RequestLimit:
    """Requests per second; exceeding the limit starts a ban, which each retry extends.

    With `ban_s` 0 only the excess requests are refused.
    """

    def __init__(self, per_s: int, ban_s: float = 0.0) -> None:
        self._seen = FloatingWindow(per_s, 1.0)
        self._ban_s = ban_s
        self._banned_until_s = 0.0

    @property
    def highest_per_s(self) -> int:
        """The most requests within one second, including refused ones."""
        return self._seen.highest_used

    def allows(self, now_s: float, *, enforce: bool = True) -> bool:
        """Count one request; return whether it is within the limit and outside of a ban."""
        self._seen.spend(now_s, 1, enforce=False)
        if not enforce:
            return True
        if now_s >= self._banned_until_s and self._seen.used(now_s) <= self._seen.tokens:
            return True
        self._banned_until_s = now_s + self._ban_s
        return False
