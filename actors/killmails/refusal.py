"""Tell whether the database refused the data itself, so that a retry is useless."""

import sqlite3
from typing import Final

import zstandard
from sqlalchemy.exc import StatementError

DATA_CLASSES: Final = frozenset({"22", "54"})
"""SQLSTATE classes: data exception; program limit exceeded.

Source: PostgreSQL's documentation, appendix "PostgreSQL Error Codes".
"""
MAX_REASON_CHARS: Final = 300


def is_refusal(error: Exception) -> bool:
    """Distinguish a refusal of data from outages, deadlocks and programming errors.

    A stored body that can't be read refuses its new version.
    """
    cause = _cause(error)
    sqlstate = getattr(cause, "sqlstate", None) or ""
    return sqlstate[:2] in DATA_CLASSES or isinstance(
        cause, OverflowError | UnicodeError | sqlite3.DataError | zstandard.ZstdError
    )


def reason_of(error: Exception) -> str:
    """Return the reason in one short line."""
    line = f"the database refuses it: {_cause(error)}".partition("\n")[0]
    return line[:MAX_REASON_CHARS]


def _cause(error: BaseException) -> BaseException:
    return (error.orig or error) if isinstance(error, StatementError) else error
