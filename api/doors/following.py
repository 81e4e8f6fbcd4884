"""What SSE and NDJSON have in common: parameters, filter, position."""

from starlette.requests import Request
from starlette.responses import Response

from api.doors.live import LiveAnswer, Wire
from api.doors.parameters import whole_number
from api.doors.slots import Slots
from api.position import check_after
from api.state import state_of
from api.view import FeedView


async def following(request: Request, slots: Slots, wire: Wire, after: str | None) -> Response:
    """Answer with the feed's entries after a sequence, or from now on.

    Raises:
        BadInput: a parameter is invalid.
        BeyondEnd: the feed has no such sequence yet.
        DatabaseUnavailable: the feed's last sequence can't be read.
    """
    state, sequence = state_of(request), whole_number("after", after)
    await check_after(state, sequence)
    return LiveAnswer(state.tail, state.doors, slots, wire, sequence, _everything)


def _everything(_: FeedView) -> bool:
    return True
