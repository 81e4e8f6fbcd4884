"""Errors as clients get them: a message and a code, without internal details."""

from typing import Any

import structlog
from graphql import GraphQLError, GraphQLSyntaxError

from api.database import DatabaseUnavailable
from api.tail import TooSlow

INTERNAL_MESSAGE = "internal error; the gateway logged it"
UNAVAILABLE_MESSAGE = "the database is unavailable; try again later"

_log = structlog.get_logger()


class ClientError(GraphQLError):
    """What the client asked for is refused; has a code and says why."""

    def __init__(self, code: str, message: str, **facts: Any) -> None:
        super().__init__(message, extensions={"code": code, **facts})
        self.code = code


class BadInput(GraphQLError):
    """An argument is invalid; the message names it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, extensions={"code": "BAD_USER_INPUT"})


class BeyondEnd(GraphQLError):
    """The argument `after` is greater than the feed's last sequence."""

    def __init__(self, after: int, last_sequence: int) -> None:
        super().__init__(
            f"after: {after} is beyond the end of the feed, {last_sequence}",
            extensions={"code": "BEYOND_END", "lastSequence": last_sequence},
        )


def format_error(error: GraphQLError, _debug: bool = False) -> dict[str, Any]:
    """Format an error for a client, with `extensions.code`; internal errors are logged."""
    code, message = _code(error), error.message
    if code == "INTERNAL":
        _log.error("graphql.resolver_failed", path=error.path, exc_info=error.original_error)
        message = INTERNAL_MESSAGE
    elif code == "UNAVAILABLE":
        _log.warning("database.unavailable", error=str(error.original_error))
        message = UNAVAILABLE_MESSAGE
    extensions = {**(error.extensions or {}), "code": code}
    return {**error.formatted, "message": message, "extensions": extensions}


def format_failure(error: Exception) -> dict[str, Any]:
    """Format the error that ended an operation; one that isn't a `GraphQLError` is internal."""
    if isinstance(error, GraphQLError):
        return format_error(error)
    code = "UNAVAILABLE" if isinstance(error, DatabaseUnavailable) else "INTERNAL"
    return format_error(GraphQLError(str(error), original_error=error, extensions={"code": code}))


def _code(error: GraphQLError) -> str:
    cause = error.original_error
    if isinstance(error, GraphQLSyntaxError):
        return "GRAPHQL_PARSE_FAILED"
    if error.extensions and "code" in error.extensions:
        return str(error.extensions["code"])
    if isinstance(cause, TooSlow):
        return "TOO_SLOW"
    if isinstance(cause, DatabaseUnavailable):
        return "UNAVAILABLE"
    if error.path is None:
        return "GRAPHQL_VALIDATION_FAILED"
    return "INTERNAL" if cause is None or not isinstance(cause, GraphQLError) else "BAD_USER_INPUT"
