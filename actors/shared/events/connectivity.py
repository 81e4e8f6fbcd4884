"""The state of the events' connections, for health answers."""

from typing import NamedTuple


class Connectivity(NamedTuple):
    """Whether publishing works, and whether all subscriptions are active."""

    publish: bool
    subscribe: bool
