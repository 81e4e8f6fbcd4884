"""Waiting for servers at start ends with the server, the limit, or a request to stop."""

import asyncio

import pytest

from actors.shared.errors import KillstreamError, Misconfigured, ServerUnavailable
from actors.shared.startup import ends_before, when_available


def explain(error: Exception) -> KillstreamError | None:
    match error:
        case ConnectionError():
            return ServerUnavailable("away")
        case PermissionError():
            return Misconfigured("refused")
    return None


async def test_a_server_that_comes_is_waited_for() -> None:
    answers = iter([ConnectionError(), "done"])

    async def act() -> str:
        match next(answers):
            case Exception() as error:
                raise error
            case answer:
                return str(answer)

    assert await when_available("it", act, explain, wait_s=5) == "done"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ConnectionError(), ServerUnavailable),
        (PermissionError(), Misconfigured),
        (ValueError(), ValueError),
    ],
)
async def test_what_waiting_does_not_change_is_raised(
    raised: Exception, expected: type[Exception]
) -> None:
    tries = 0

    async def act() -> None:
        nonlocal tries
        tries += 1
        raise raised

    with pytest.raises(expected):
        await when_available("it", act, explain, wait_s=0)
    assert tries == 1


async def test_a_request_to_stop_cuts_a_start_short() -> None:
    stop, cut = asyncio.Event(), asyncio.Event()

    async def start() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    asyncio.get_running_loop().call_soon(stop.set)
    async with asyncio.timeout(5):
        assert not await ends_before(stop, start())
    assert cut.is_set()
    assert await ends_before(asyncio.Event(), asyncio.sleep(0))


async def test_what_a_start_raises_is_raised() -> None:
    async def start() -> None:
        raise Misconfigured("refused")

    with pytest.raises(Misconfigured):
        await ends_before(asyncio.Event(), start())
