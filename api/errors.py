"""What a client gets when something goes wrong: a message, a code, nothing of our insides."""

from typing import Any

import structlog
from graphql import GraphQLError, GraphQLSyntaxError

from api.reads import DATABASE_UNAVAILABLE
from api.tail import TooSlow

_log = structlog.get_logger()


class BadInput(GraphQLError):
    """The client asked for something that can't be; says what."""

    def __init__(self, message: str) -> None:
        super().__init__(message, extensions={"code": "BAD_USER_INPUT"})


def format_error(error: GraphQLError, _debug: bool = False) -> dict[str, Any]:
    """Shape an error for a client, with `extensions.code`; what is our fault is logged."""
    code, message = _code(error), error.message
    if code == "INTERNAL":
        _log.error("graphql: a resolver failed", path=error.path, exc_info=error.original_error)
        message = "something went wrong here; it is logged"
    elif code == "UNAVAILABLE":
        _log.warning("graphql: the database is away", error=str(error.original_error))
        message = "the database is away; try again later"
    return {**error.formatted, "message": message, "extensions": {"code": code}}


def _code(error: GraphQLError) -> str:
    cause = error.original_error
    if isinstance(error, GraphQLSyntaxError):
        return "GRAPHQL_PARSE_FAILED"
    if error.extensions and "code" in error.extensions:
        return str(error.extensions["code"])
    if isinstance(cause, TooSlow):
        return "TOO_SLOW"
    if isinstance(cause, DATABASE_UNAVAILABLE):
        return "UNAVAILABLE"
    if error.path is None:
        return "GRAPHQL_VALIDATION_FAILED"
    return "INTERNAL" if cause is None or not isinstance(cause, GraphQLError) else "BAD_USER_INPUT"
