"""Shorten log lines, so that none contains a killmail's body."""

import logging
from typing import Any, Final

import dramatiq
import structlog

MAX_CHARS: Final = 500
"""Maximum length of a log line's value, and of each line of a traceback."""
MAX_TRACEBACK_CHARS: Final = 10_000


def shorten(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Shorten long values of a log line; a processor of structlog."""
    for key, value in event.items():
        if key == "exception" and isinstance(value, str):
            lines = (_cut(line, MAX_CHARS) for line in value.splitlines())
            event[key] = _cut("\n".join(lines), MAX_TRACEBACK_CHARS)
        elif isinstance(value, str | bytes | list | tuple | dict):
            text = value if isinstance(value, str) else repr(value)
            event[key] = _cut(text, MAX_CHARS) if len(text) > MAX_CHARS else value
    return event


def _cut(text: str, limit: int) -> str:
    """Return the text, without its middle if it is longer than `limit`."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters … {text[-half:]}"


def printable(text: str) -> str:
    """Escape characters that a terminal could interpret as control sequences."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def name_messages(record: logging.LogRecord) -> bool:
    """Replace messages in dramatiq's log lines by actor and id, without the arguments."""
    if isinstance(record.args, tuple):
        record.args = tuple(map(_named, record.args))
    return True


def _named(argument: object) -> object:
    if isinstance(argument, dramatiq.Message | dramatiq.MessageProxy):
        return f"{argument.actor_name} {argument.message_id}"
    return argument
