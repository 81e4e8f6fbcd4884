"""Whether new killmails are taken in: operators pause it with `killstream drain`."""

import asyncio
from typing import Final

from actors.shared import pauses


class Intake:
    """A switch; paused, the source isn't polled and no sync is started."""

    def __init__(self) -> None:
        self._running = asyncio.Event()
        self._running.set()

    @property
    def is_paused(self) -> bool:
        """Whether nothing new is to be taken in."""
        return not self._running.is_set()

    def switch(self, paused: frozenset[str]) -> None:
        """Pause or resume, by the names of all that is paused."""
        if pauses.INTAKE in paused:
            self._running.clear()
        else:
            self._running.set()

    async def until_running(self, ending: asyncio.Event) -> None:
        """Wait while it is paused, or until `ending` is set."""
        if not self.is_paused:
            return
        waiting = [
            asyncio.create_task(event.wait(), name="intake") for event in (self._running, ending)
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)


INTAKE: Final = Intake()
"""The switch of this process."""
