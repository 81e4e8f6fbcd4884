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
    CHARACTERS = "characters"
    """ESI's error limit: where characters belong, in bulk."""
    CORPORATIONS = "corporations"
    """ESI's error limit: corporations."""
    ALLIANCES = "alliances"
    """ESI's error limit: alliances with their corporations."""
    TYPES = "types"
    """ESI's error limit: types of items."""
    UNIVERSE = "universe"
    """CCP's archive of static data, once a day: nothing else waits for it."""
    HISTORY = "history"
    """Archives of history: a day takes seconds, and all of it days."""
