"""The upstreams' rate limits: floating windows, a fixed error window, a ban. No I/O, no clock."""

from collections import deque
from math import ceil


class FloatingWindow:
    """Tokens that come back one window after each was spent.

    What was spent at T counts up to, but not at, T + window.
    """

    def __init__(self, tokens: int, window_s: float) -> None:
        self.tokens = tokens
        self.window_s = window_s
        self.highest_used = 0
        self._spent: deque[tuple[float, int]] = deque()
        self._used = 0

    def used(self, now_s: float) -> int:
        """Count the tokens that are spent and not back yet."""
        spent = self._spent
        while spent and spent[0][0] + self.window_s <= now_s:
            self._used -= spent.popleft()[1]
        return self._used

    def spend(self, now_s: float, cost: int, *, enforce: bool = True) -> bool:
        """Take the cost, or refuse and take nothing when it isn't there."""
        used = self.used(now_s) + cost
        if enforce and used > self.tokens:
            return False
        if cost:
            self._spent.append((now_s, cost))
        self._used = used
        self.highest_used = max(self.highest_used, used)
        return True

    def retry_after_s(self, now_s: float, cost: int) -> int:
        """Tell in how many whole seconds, at least one, the cost will be there."""
        missing = self.used(now_s) + cost - self.tokens
        for spent_at_s, tokens in self._spent:
            missing -= tokens
            if missing <= 0:
                return max(1, ceil(spent_at_s + self.window_s - now_s))
        return max(1, ceil(self.window_s))


class ErrorBudget:
    """So many errors per window, all back when the window turns."""

    def __init__(self, errors: int = 100, window_s: float = 60.0) -> None:
        self._errors = errors
        self._window_s = window_s
        self._window = -1
        self._made = 0

    def remaining(self, now_s: float) -> int:
        """Count the errors that may still be made in this window."""
        self._turn(now_s)
        return max(0, self._errors - self._made)

    def reset_s(self, now_s: float) -> int:
        """Tell in how many whole seconds, at least one, the window turns."""
        return max(1, ceil(self._window_s - now_s % self._window_s))

    def error(self, now_s: float) -> None:
        """Count one error."""
        self._turn(now_s)
        self._made += 1

    def _turn(self, now_s: float) -> None:
        window = int(now_s // self._window_s)
        if window != self._window:
            self._window, self._made = window, 0


class RequestLimit:
    """So many requests in any second; when broken, a ban that each retry prolongs.

    With `ban_s` 0 the one request too many is refused and nothing more.
    """

    def __init__(self, per_s: int, ban_s: float = 0.0) -> None:
        self._seen = FloatingWindow(per_s, 1.0)
        self._ban_s = ban_s
        self._banned_until_s = 0.0

    @property
    def highest_per_s(self) -> int:
        """The most requests that came within one second, refused ones too."""
        return self._seen.highest_used

    def allows(self, now_s: float, *, enforce: bool = True) -> bool:
        """Count one request; say whether it is within the limit and outside of a ban."""
        self._seen.spend(now_s, 1, enforce=False)
        if not enforce:
            return True
        if now_s >= self._banned_until_s and self._seen.used(now_s) <= self._seen.tokens:
            return True
        self._banned_until_s = now_s + self._ban_s
        return False
