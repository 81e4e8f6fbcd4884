"""Set up logs: one line per event, readable on a terminal and JSON elsewhere."""

import asyncio
import logging
import sys
import threading
from typing import Final, TextIO, cast

import structlog

from actors.shared.outage import one_line
from actors.shared.settings import Settings
from deploy.repeats import RepeatFilter
from deploy.shorten import name_messages, shorten

log: Final = structlog.get_logger()

LEVELS: Final = {
    "pika": logging.CRITICAL,  # our code logs the errors that it raises
    "aiokafka.consumer.group_coordinator": logging.ERROR,  # logs a warning at every rebalance
    "faust.app.base": logging.ERROR,  # logs a warning at every rebalance
}
"""Levels of libraries' loggers that log more than an operator can act on."""


def set_up_logs(settings: Settings) -> None:
    """Send our log and the libraries' to standard error: readable on a terminal, JSON elsewhere."""
    stderr = cast(TextIO, _CurrentStderr())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, shorten, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                shorten,
                render,
            ],
        )
    )
    handler.addFilter(name_messages)
    handler.addFilter(RepeatFilter())
    for name, minimum in LEVELS.items():
        logging.getLogger(name).setLevel(minimum)
    threading.excepthook = _log_failed_thread
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _log_failed_thread(failure: threading.ExceptHookArgs) -> None:
    """Log in one line that a thread ended with an exception."""
    if failure.exc_value is None or isinstance(failure.exc_value, asyncio.CancelledError):
        return  # Faust's threads end with it while their broker is unavailable
    name = failure.thread.name if failure.thread else "?"
    log.error("thread.failed", thread=name, reason=one_line(failure.exc_value))


class _CurrentStderr:
    """Writes to the current `sys.stderr`, which a live display replaces."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()
