"""How far events get just now, for health answers."""

from typing import NamedTuple


class Connectivity(NamedTuple):
    """Whether messages go out, and whether all that is subscribed to comes in."""

    publish: bool
    subscribe: bool
