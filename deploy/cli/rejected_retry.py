"""Retry rejected records: move them to the ledger and, with RabbitMQ, enqueue them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Final

from rich.progress import Progress
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.reference import Reference, encode_reference
from actors.shared.settings import Settings, settings
from deploy.cli.process import console
from deploy.cli.rejected_records import Selection, by_size, find, move_to_ledger, pages

ENQUEUE_S: Final = 10.0
"""Time limit for enqueueing one page; after that no more messages are enqueued."""
RECALL_AFTER: Final = timedelta(minutes=15)
"""Time until the ledger sends a reference again whose message was enqueued."""
MESSAGE_BYTES: Final = 4 * 1024 * 1024


async def retry_records(
    database: AsyncEngine, ids: Sequence[str], selection: Selection, *, dry_run: bool
) -> tuple[int, dict[str, str]]:
    """Retry records, a page at a time, and show progress.

    Returns:
        The number of retried records, and by digest why the others can't be retried.

    Raises:
        NoSuchRecord: no record has a given id.
    """
    send = _Sender(settings())
    retried = 0
    still_rejected: dict[str, str] = {}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("retrying", total=None)
        async for digests in _digests(database, ids, selection):
            moved = await move_to_ledger(database, digests, send.next_try_in, dry_run=dry_run)
            if not dry_run:
                await send(moved.references)
            retried += len(moved.references)
            still_rejected |= moved.still_rejected
            progress.update(task, advance=len(digests), description=f"retried: {retried:,}")
    if retried and not dry_run:
        console.print(send.outcome, soft_wrap=True)
    return retried, still_rejected


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
    """Enqueues references for the actors, until RabbitMQ doesn't answer in time."""

    def __init__(self, settings: Settings) -> None:
        self._is_on = bool(settings.rabbitmq_url)
        self.outcome = (
            "sent to the actors"
            if self._is_on
            else "written to the ledger: `killstream up` sends them from there, within a"
            " minute while it runs, else at its next start"
        )

    @property
    def next_try_in(self) -> timedelta:
        """The time until the ledger sends the references by itself."""
        return RECALL_AFTER if self._is_on else timedelta()

    async def __call__(self, references: Sequence[Reference]) -> None:
        """Enqueue references; the ledger sends those that can't be enqueued in time."""
        if not self._is_on:
            return
        from actors.broker import enqueue  # its import creates the broker
        from actors.killmails.fetch import fetch
        from actors.killmails.persist import persist

        try:
            async with asyncio.timeout(ENQUEUE_S):
                for actor, has_body in ((persist, True), (fetch, False)):
                    values = [encode_reference(r) for r in references if bool(r.body) == has_body]
                    for message in by_size(values, MESSAGE_BYTES):
                        await enqueue(actor, message)
        except TimeoutError:
            self._is_on = False
            self.outcome = (
                "RabbitMQ doesn't answer: they are in the ledger, from which `killstream"
                " streams` sends them within 15 minutes"
            )
