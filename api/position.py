"""Where in the feed a client may go on."""

from api import reads
from api.errors import BadInput, BeyondEnd
from api.state import State


async def check_after(state: State, after: int | None) -> None:
    """Refuse a sequence that the feed doesn't have; 0 stands for its beginning, None for its end.

    The feed table decides, not what this process has seen: a client may come from another one,
    which was a little ahead.

    Raises:
        BadInput: it is negative.
        BeyondEnd: it is beyond the end; says where the end is.
        DatabaseUnavailable: the database can't tell where the end is.
    """
    if after is None:
        return
    if after < 0:
        raise BadInput(f"after: must not be negative, and is {after}")
    if after > state.tail.last:
        last_sequence = await reads.last_sequence(state.database)
        if after > last_sequence:
            raise BeyondEnd(after, last_sequence)
