"""Take rejected records up again, and hand them to the actors where there is a RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Final

from rich.progress import Progress
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.reference import Reference, encode_reference
from actors.shared.settings import Settings, settings
from deploy.cli.process import console
from deploy.cli.rejected_records import Selection, by_size, find, pages, take_up

ENQUEUE_S: Final = 10.0
"""How long RabbitMQ may take for one batch; after that the ledger alone has what is taken up."""
LEDGER_S: Final = timedelta(minutes=15)
"""When the ledger sends again what a message was sent for."""
MESSAGE_BYTES: Final = 4 * 1024 * 1024


async def retry_records(
    database: AsyncEngine, ids: Sequence[str], selection: Selection, *, dry_run: bool
) -> tuple[int, dict[str, str]]:
    """Take records up again, a page at a time, and say how far it is.

    Returns:
        How many were taken up, and why the others stay rejected, by digest.

    Raises:
        NoSuchRecord: an id names none.
    """
    send = _Sender(settings())
    taken = 0
    left: dict[str, str] = {}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("taking up again", total=None)
        async for digests in _digests(database, ids, selection):
            done = await take_up(database, digests, send.ledger_wait, dry_run=dry_run)
            if not dry_run:
                await send(done.references)
            taken += len(done.references)
            left |= done.left
            progress.update(task, advance=len(digests), description=f"taken up again: {taken:,}")
    if taken and not dry_run:
        console.print(send.said, soft_wrap=True)
    return taken, left


async def _digests(
    database: AsyncEngine, ids: Sequence[str], selection: Selection
) -> AsyncIterator[list[str]]:
    if ids:
        found = [(await find(database, id_)).id for id_ in dict.fromkeys(ids)]
        yield list(dict.fromkeys(found))
        return
    async for page in pages(database, selection):
        yield [row.digest for row in page]


class _Sender:
    """Hands on to the actors what stands in the ledger, while RabbitMQ takes it."""

    def __init__(self, settings: Settings) -> None:
        self._is_on = bool(settings.rabbitmq_url)
        self.said = (
            "sent to the actors"
            if self._is_on
            else "written to the ledger: `killstream up` sends them from there, within a"
            " minute while it runs, else when it starts"
        )

    @property
    def ledger_wait(self) -> timedelta:
        """How long the ledger waits before it sends them itself."""
        return LEDGER_S if self._is_on else timedelta()

    async def __call__(self, references: Sequence[Reference]) -> None:
        """Enqueue references; what can't be enqueued in time is left to the ledger."""
        if not self._is_on:
            return
        from actors.broker import enqueue  # makes a broker when it is imported
        from actors.killmails.fetch import fetch
        from actors.killmails.persist import persist

        try:
            async with asyncio.timeout(ENQUEUE_S):
                for unit, has_body in ((persist, True), (fetch, False)):
                    values = [encode_reference(r) for r in references if bool(r.body) == has_body]
                    for message in by_size(values, MESSAGE_BYTES):
                        await enqueue(unit, message)
        except TimeoutError:
            self._is_on = False
            self.said = (
                "RabbitMQ doesn't answer: they are in the ledger, from which `killstream"
                " streams` sends them within 15 minutes"
            )
