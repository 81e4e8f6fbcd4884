"""Check the sequence from which a client resumes."""

from api import reads
from api.errors import BadInput, BeyondEnd
from api.state import State


async def check_after(state: State, after: int | None) -> None:
    """Check that the feed has a sequence; 0 stands for its beginning, None for its end.

    Compares with the feed table and not with this process's tail: the client may resume after a
    connection to another gateway, which was ahead of this one.

    Raises:
        BadInput: the sequence is negative.
        BeyondEnd: it is greater than the feed's last sequence.
        DatabaseUnavailable: the last sequence can't be read.
    """
    if after is None:
        return
    if after < 0:
        raise BadInput(f"after: must not be negative, and is {after}")
    if after > state.tail.last:
        last_sequence = await reads.last_sequence(state.database)
        if after > last_sequence:
            raise BeyondEnd(after, last_sequence)
