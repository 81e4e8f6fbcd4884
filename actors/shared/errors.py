"""The four ways work can end badly, named by what whoever sees them must do."""

from typing import ClassVar

from dramatiq.errors import Retry


class KillstreamError(Exception):
    """Base of all our errors."""

    exit_code: ClassVar[int] = 1
    """What a command ends with: 2 for settings, else 1, so that a supervisor starts it again."""


class Invalid(KillstreamError):
    """The data is wrong and will stay wrong: never retry."""


class RetryLater(KillstreamError, Retry):
    """The world isn't ready: try again after `delay_ms`. Not an error in the logs."""

    def __init__(self, message: str, *, delay_ms: int) -> None:
        Retry.__init__(self, message, delay=delay_ms)
        self.delay_ms = delay_ms


class NotFound(KillstreamError):
    """What was asked for isn't here."""


class Misconfigured(KillstreamError):
    """A setting is missing or wrong: say which and what to do, then stop."""

    exit_code = 2


class ServerUnavailable(KillstreamError):
    """A server that we need didn't answer within the time that we wait for it."""
