"""The base classes of errors, named by how the caller must react."""

from typing import ClassVar, Final

import msgspec
from dramatiq.errors import Retry

DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that it can't decode; RecursionError: they are nested deeply."""


class KillstreamError(Exception):
    """Base of all our errors."""

    exit_code: ClassVar[int] = 1
    """The exit code of a command: 2 for wrong settings, else 1; supervisors restart it after 1."""


class Invalid(KillstreamError):
    """The data is invalid: don't retry."""


class RetryLater(KillstreamError, Retry):
    """Something needed is unavailable: retry after `delay_ms`. Not logged as an error."""

    def __init__(self, message: str, *, delay_ms: int) -> None:
        Retry.__init__(self, message, delay=delay_ms)
        self.delay_ms = delay_ms


class NotFound(KillstreamError):
    """The requested object doesn't exist."""


class Misconfigured(KillstreamError):
    """A setting is missing or wrong; says which and what to do. The process must stop."""

    exit_code = 2


class ServerUnavailable(KillstreamError):
    """A required server didn't answer in time."""
