"""List a subject's recent killmails page by page, and have the unknown ones fetched."""

from datetime import timedelta
from typing import Final

import structlog

from actors.broker import enqueue
from actors.esi.authenticated import recent_killmails
from actors.esi.budget import BudgetClass
from actors.esi.errors import Forbidden, Refused, TokenRejected, Unavailable, UnexpectedStatus
from actors.killmails.fetch import fetch
from actors.resources import Resources, resources
from actors.shared.errors import KillstreamError, Misconfigured, RetryLater
from actors.sync.listed import record_listed, record_sent
from actors.sync.run import (
    Run,
    begin_run,
    extend_run,
    finish_run,
    postpone_run,
    refuse_run,
    release_run,
)
from actors.sync.subject import Subject
from actors.users.sso import LoginRequired
from actors.users.tokens import expire_token
from actors.users.vault import Undecryptable

log: Final = structlog.get_logger()

MESSAGE_REFERENCES: Final = 20
"""References in one message to `fetch`."""
MAX_PAGES: Final = 1_000
FAILURE_WAIT: Final = timedelta(minutes=5)
REJECTED_TOKEN_WAIT: Final = timedelta(minutes=1)
"""When a refreshed token is tried in place of one that ESI rejects."""
REJECTED_AGAIN_WAIT: Final = timedelta(hours=1)
PRIORITIES: Final = {BudgetClass.FIRST_SYNC: 7, BudgetClass.SYNC: 5}
"""Of messages to `fetch`; the live feed's have a higher one."""


class _Interrupted(Exception):
    """A page couldn't be listed."""

    def __init__(self, page: int, error: KillstreamError) -> None:
        self.page = page
        self.error = error


async def synchronize(subject: Subject, *, full: bool = False) -> None:
    """Run a sync and record its result. Does nothing while another run of it is in progress.

    An incremental run ends at the first page with nothing new; a full run lists all pages. What
    interrupts a run postpones it in the schedule, and the next run goes on there.
    """
    opened = resources()
    run = await begin_run(opened.database, subject, full)
    if run is None:
        return
    if run.list_is_cached:
        await finish_run(opened.database, run, 0)
        return
    try:
        new = await _list_pages(opened, run)
    except _Interrupted as interrupted:
        await _record_interruption(opened, run, interrupted)
    except Exception:  # the message is retried
        await release_run(opened.database, run)
        raise
    else:
        await finish_run(opened.database, run, new)
        log.info("sync.finished", source=subject.source, new=new, full=run.is_full)


async def _list_pages(opened: Resources, run: Run) -> int:
    budget_class = BudgetClass.FIRST_SYNC if run.is_first else BudgetClass.SYNC
    subject, total = run.subject, 0
    page, pages = run.first_page, run.first_page
    while page <= min(pages, MAX_PAGES):
        try:
            listed = await recent_killmails(
                opened.esi,
                subject.kind,
                subject.entity_id,
                page,
                token=await opened.keeper.access_token(subject.character_id),
                owner=subject.character_id,
            )
        except Refused as error:
            if page == 1:
                raise _Interrupted(page, error) from None
            break  # the list became shorter meanwhile
        except KillstreamError as error:
            raise _Interrupted(page, error) from None
        recorded = await record_listed(
            opened.database, subject.source, subject.character_id, listed.value or []
        )
        await _send(recorded.references, budget_class)
        await record_sent(opened.database, subject.source, recorded.sent)
        await extend_run(opened.database, run, listed.expires_at, page + 1)
        total += recorded.new
        pages, page = listed.pages or 1, page + 1
        if not (recorded.new or run.is_full):
            break
    return total


async def _send(references: list[bytes], budget_class: BudgetClass) -> None:
    for start in range(0, len(references), MESSAGE_REFERENCES):
        message = references[start : start + MESSAGE_REFERENCES]
        await enqueue(fetch, message, 0, int(budget_class), priority=PRIORITIES[budget_class])


async def _record_interruption(opened: Resources, run: Run, interrupted: _Interrupted) -> None:
    error, wait = interrupted.error, FAILURE_WAIT
    match error:
        case LoginRequired():
            await refuse_run(opened.database, run, str(error))
            return
        case Forbidden():
            await refuse_run(opened.database, run, error.reason)
            log.warning("sync.refused", source=run.subject.source, reason=error.reason)
            return
        case TokenRejected():
            await expire_token(opened.database, run.subject.character_id)
            again = str(error) == run.last_error  # a new token was rejected, too
            wait = REJECTED_AGAIN_WAIT if again else REJECTED_TOKEN_WAIT
        case RetryLater():
            wait = timedelta(milliseconds=error.delay_ms)
        case Misconfigured() | Undecryptable():
            log.error("sync.failed", source=run.subject.source, reason=str(error))
        case Unavailable() | UnexpectedStatus() | Refused():
            pass
        case _:
            await release_run(opened.database, run)  # the message is retried
            raise error
    await postpone_run(opened.database, run, str(error), wait, interrupted.page)
    log.info("sync.postponed", source=run.subject.source, reason=str(error))
