"""What SSE and NDJSON have in common: parameters, filter, position."""

from starlette.requests import Request
from starlette.responses import Response

from api.doors.filtering import tree_of_query, wanted_by
from api.doors.live import LiveAnswer, Wire
from api.doors.parameters import whole_number
from api.doors.slots import Slots
from api.position import check_after
from api.state import state_of


async def following(request: Request, slots: Slots, wire: Wire, after: str | None) -> Response:
    """Answer with the feed's entries that are wanted, after a sequence, or from now on.

    Raises:
        BadInput: a parameter is invalid.
        UniverseUnknown: the filter needs the static universe, and none is loaded.
        BeyondEnd: the feed has no such sequence yet.
        DatabaseUnavailable: the feed's last sequence can't be read.
    """
    state, sequence = state_of(request), whole_number("after", after)
    tree = await tree_of_query(state.facts, request, ("after",))
    await check_after(state, sequence)
    wanted = wanted_by(state.facts, tree)
    return LiveAnswer(state.tail, state.doors, slots, wire, sequence, wanted)
