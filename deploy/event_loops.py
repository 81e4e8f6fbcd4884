"""Find out whether the event loops of this process answer: the main one, and that of the actors."""

import asyncio
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Final

import structlog

log: Final = structlog.get_logger()

HANG_S: Final = 60.0
"""How long an event loop may not answer before a process ends itself: as systemd's watchdog."""
RESUMED_S: Final = 5.0
"""How much longer, since the whole process may have been stopped meanwhile."""


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


def hanging(main: asyncio.AbstractEventLoop, answer_s: float, resumed_s: float = 0.0) -> list[str]:
    """Say which loops don't answer in time; call it in a thread without a loop."""
    loops = {"main": main}
    if actors := actors_loop():
        loops["actors"] = actors
    answers = {name: _ask(loop) for name, loop in loops.items()}
    return [
        f"the {name} event loop doesn't answer"
        for name, answered in answers.items()
        if not (answered.wait(answer_s) or answered.wait(resumed_s))
    ]


def _ask(loop: asyncio.AbstractEventLoop) -> threading.Event:
    answered = threading.Event()
    try:
        loop.call_soon_threadsafe(answered.set)
    except RuntimeError:  # it is closed, so the process is ending
        answered.set()
    return answered


def end_when_hanging(answer_s: float = HANG_S, resumed_s: float = RESUMED_S) -> None:
    """Have this process end with code 1 when a loop doesn't answer, for its parent to notice."""
    loop = asyncio.get_running_loop()
    actors_loop()  # imports in this thread: other threads import, too

    def watch() -> None:
        while not (reasons := hanging(loop, answer_s, resumed_s)):
            time.sleep(answer_s / 2)
        log.error("process.hangs", reasons=reasons, action="this process ends")
        sys.stderr.flush()
        os._exit(1)

    threading.Thread(target=watch, name="hanging", daemon=True).start()
