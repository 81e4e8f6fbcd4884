"""Limit libraries' log lines: each kind once, then at growing intervals, in bounded length.

A library that lost its server may log the same line thousands of times per second. The first is
logged; the following ones are counted, and the next logged one has their number.
"""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PAUSE_FIRST_S: Final = 30.0
PAUSE_MAX_S: Final = 3600.0
FORGET_S: Final = 600.0
"""Time without a kind after which its next line counts as the first."""
MAX_CHARS: Final = 500
MAX_KINDS: Final = 500
"""Kinds in memory; when there are more, all are deleted, and some lines are logged again."""

_VARIABLE: Final = re.compile(r"0x[0-9a-f]+|\d+|'[^']*'|\"[^\"]*\"|<[^>]*>")
"""Parts that differ between two lines of one kind."""


@dataclass
class _Kind:
    last_s: float
    next_s: float
    pause_s: float = PAUSE_FIRST_S
    suppressed: int = 0


class RepeatFilter(logging.Filter):
    """Accepts the first record of a kind, then one after each pause; shortens each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record; sets the final text of an accepted one."""
        text = record.getMessage()
        kind = (record.name, record.levelno, _kind_of(text, record))
        now_s = self._clock()
        seen = self._kinds.get(kind)
        if seen is None or now_s > seen.last_s + FORGET_S:
            if len(self._kinds) >= MAX_KINDS:
                self._kinds.clear()
            self._kinds[kind] = _Kind(now_s, now_s + PAUSE_FIRST_S)
            suppressed = 0
        elif now_s < seen.next_s:
            seen.last_s = now_s
            seen.suppressed += 1
            return False
        else:
            suppressed, seen.suppressed = seen.suppressed, 0
            seen.pause_s = min(2 * seen.pause_s, PAUSE_MAX_S)
            seen.last_s, seen.next_s = now_s, now_s + seen.pause_s
        record.msg, record.args = _shortened(text), ()
        if suppressed:
            record.msg += f" (and {suppressed} more like it)"
        return True


def _kind_of(text: str, record: logging.LogRecord) -> str:
    """Return a key that is equal for lines that differ only in numbers, quoted texts and reprs.

    For a line with an exception it is the text up to the first bracket (dramatiq's has the call
    after it) and the exception's type.
    """
    if record.exc_info and record.exc_info[0]:
        return f"{text.partition('(')[0][:120]} {record.exc_info[0].__name__}"
    return _VARIABLE.sub("", text)[:120]


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_CHARS else f"{line[:MAX_CHARS]}… ({len(line)} characters)"
