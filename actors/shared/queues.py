"""The queues of the actors, without the namespace."""

from enum import StrEnum


class Queue(StrEnum):
    """A queue, by what its actors wait for."""

    DATABASE = "database"
    """The database."""
    ESI = "esi"
    """ESI's budget for killmails and names."""
    SYNC = "sync"
    """ESI's budgets of users, and EVE's single sign-on."""
