"""Find out whether the actors' event loop answers, which runs beside the main one."""

import asyncio
from contextlib import suppress


def actors_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop of the actors that run in this process."""
    from dramatiq.asyncio import get_event_loop_thread

    thread = get_event_loop_thread()
    return thread.loop if thread else None


async def until_actors_answer() -> None:
    """Wait until the actors' loop has run a callback; there may be none, or it may be ending."""
    actors = actors_loop()
    if actors is None:
        return
    loop = asyncio.get_running_loop()
    answered = asyncio.Event()
    with suppress(RuntimeError):  # it is closed
        actors.call_soon_threadsafe(loop.call_soon_threadsafe, answered.set)
        await answered.wait()
