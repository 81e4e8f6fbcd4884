"""Logs stay short: no line shows a killmail's body, whoever wrote it."""

import logging
from typing import Any, Final

import dramatiq
import structlog

MAX_CHARS: Final = 500
"""Longest text that a log line shows of one thing; of a traceback, of each of its lines."""
MAX_TRACEBACK_CHARS: Final = 10_000


def shorten(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Cut long texts, whoever logs them: a log never shows a killmail's body."""
    for key, value in event.items():
        if key == "exception" and isinstance(value, str):
            lines = (_cut(line, MAX_CHARS) for line in value.splitlines())
            event[key] = _cut("\n".join(lines), MAX_TRACEBACK_CHARS)
        elif isinstance(value, str | bytes | list | tuple | dict):
            text = value if isinstance(value, str) else repr(value)
            event[key] = _cut(text, MAX_CHARS) if len(text) > MAX_CHARS else value
    return event


def _cut(text: str, limit: int) -> str:
    """Keep the beginning and the end of a text that is too long."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters … {text[-half:]}"


def name_messages(record: logging.LogRecord) -> bool:
    """Have dramatiq's log lines name a message by its actor and id, without its arguments."""
    if isinstance(record.args, tuple):
        record.args = tuple(map(_named, record.args))
    return True


def _named(argument: object) -> object:
    if isinstance(argument, dramatiq.Message | dramatiq.MessageProxy):
        return f"{argument.actor_name} {argument.message_id}"
    return argument
