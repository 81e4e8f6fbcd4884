"""Fetch killmails' bodies from ESI: step 3 of the flow, where the source gave no body.

Takes references. Sends each to `persist` with its body, to `reject` with the reason, or to itself
with a delay, or leaves it in the ledger, which has it sent again when it is due. All of these are
sent before the message is acked, so a crash loses nothing: RabbitMQ redelivers it, and `persist`
is idempotent.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

import msgspec
import zstandard
from sqlalchemy import select

from actors.broker import ESI_QUEUE, MAX_PRIORITY, actor, enqueue
from actors.esi.budget import BudgetClass, Spent
from actors.esi.errors import Refused, Unavailable, UnexpectedStatus
from actors.killmails.persist import persist
from actors.killmails.postpone import MAX_MESSAGE_DELAY, postpone, record_refusals
from actors.killmails.reject import reject
from actors.resources import resources
from actors.shared.among import among
from actors.shared.body import unpack
from actors.shared.database import reading
from actors.shared.dictionaries import read_bodies
from actors.shared.errors import Invalid, RetryLater
from actors.shared.reference import (
    Origin,
    Reference,
    decode_reference,
    encode_reference,
    origin_of,
)
from actors.shared.rejection import encode_rejection
from actors.shared.tables import KILLMAILS

UNAVAILABLE_MS: Final = 30_000
"""Delay after the first failure of an outage; doubles with each try of the message."""
MAX_TRIES: Final = 5
"""Tries of one message in an outage, in about eight minutes; then the ledger retries."""
LEFT_TO_LEDGER: Final = timedelta(minutes=10)
"""When the ledger sends entries again that an outage postponed."""
MAX_DELAY_MS: Final = MAX_MESSAGE_DELAY // timedelta(milliseconds=1)
SYNC_PRIORITY: Final = 5
"""Of messages to `persist` without a live killmail."""
MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Size at which a message to `persist` is full."""

_CLASSES: Final[dict[Origin, BudgetClass]] = {
    "live": BudgetClass.LIVE,
    "sync": BudgetClass.SYNC,
    "import": BudgetClass.IMPORT,
}

Key = tuple[int, str]
"""killmail_id and hash."""
Outcome = bytes | RetryLater | Invalid
"""A body, a delay before the next request, or ESI's reason for a refusal."""


@actor(queue_name=ESI_QUEUE, priority=0)
async def fetch(references: list[bytes], tries: int = 0, budget_class: int | None = None) -> None:
    """Get bodies from the database or from ESI and send them to `persist`.

    References whose body isn't available now are postponed one by one. A refusal is accepted only
    after hours (see `actors.killmails.postpone`); an outage never counts as one.

    Args:
        references: encoded by `actors.shared.reference`; those with bodies are sent on unchanged.
        tries: how many tries of this message failed in an outage.
        budget_class: of `BudgetClass`; by default what each reference's source is for.
    """
    whole, wanted, rejections = _read(references)
    classes = {(r.killmail_id, r.hash): _class_of(r, budget_class) for r in wanted}
    bodies = await _get_bodies(classes)
    outcomes = [(r, bodies[r.killmail_id, r.hash]) for r in wanted]
    got = whole + [_with_body(r, body) for r, body in outcomes if isinstance(body, bytes)]
    waiting = [(r, wait) for r, wait in outcomes if isinstance(wait, RetryLater)]
    refused = [(r, reason) for r, reason in outcomes if isinstance(reason, Invalid)]
    is_live = any(origin_of(r.source) == "live" for r in got)
    for message in _messages(got):
        await enqueue(persist, message, priority=MAX_PRIORITY if is_live else SYNC_PRIORITY)
    await _postpone(waiting, tries, budget_class)
    rejections += await _refuse(refused, budget_class)
    if rejections:
        await enqueue(reject, rejections)


def _read(
    references: Iterable[bytes],
) -> tuple[list[Reference], list[Reference], list[bytes]]:
    """Decode a batch: references with a body, those without, and rejections of invalid ones."""
    whole: list[Reference] = []
    wanted: list[Reference] = []
    rejections: list[bytes] = []
    for value in references:
        try:
            reference = decode_reference(value)
        except Invalid as error:
            rejections.append(encode_rejection(str(error), value))
        else:
            (whole if reference.body else wanted).append(reference)
    return whole, wanted, rejections


def _with_body(reference: Reference, body: bytes) -> Reference:
    return msgspec.structs.replace(reference, body=msgspec.Raw(body))


def _class_of(reference: Reference, given: int | None) -> BudgetClass:
    return _CLASSES[origin_of(reference.source)] if given is None else BudgetClass(given)


async def _get_bodies(keys: Mapping[Key, BudgetClass]) -> dict[Key, Outcome]:
    """Get each body, or the reason why there is none; requests only what isn't stored.

    A stored body is used even where ESI refuses the given hash: the killmail's key is its id.
    """
    stored = await _stored({killmail_id for killmail_id, _ in keys})
    missing = sorted(key for key in keys if stored.get(key[0], ("",))[0] != key[1])
    answers = await asyncio.gather(*(_ask(*key, keys[key]) for key in missing))
    bodies: dict[Key, Outcome] = {key: stored[key[0]][1] for key in keys if key[0] in stored}
    for key, answer in zip(missing, answers, strict=True):
        if key not in bodies or not isinstance(answer, Invalid):
            bodies[key] = answer
    return bodies


async def _stored(ids: Collection[int]) -> dict[int, tuple[str, bytes]]:
    """Read hashes and bodies by killmail_id."""
    query = select(KILLMAILS.c.killmail_id, KILLMAILS.c.killmail_hash, KILLMAILS.c.body)
    async with reading(resources().database) as connection:
        stored = query.where(among(KILLMAILS.c.killmail_id, ids))
        rows = await read_bodies(connection, stored)
    found = {}
    for row in rows:
        with suppress(zstandard.ZstdError):  # unreadable: ESI has it
            found[row.killmail_id] = (row.killmail_hash, unpack(row.body))
    return found


async def _ask(killmail_id: int, killmail_hash: str, budget_class: BudgetClass) -> Outcome:
    try:
        return await resources().esi.killmail(killmail_id, killmail_hash, budget_class)
    except (Refused, UnexpectedStatus) as error:
        return Invalid(str(error))
    except Unavailable as error:
        return RetryLater(str(error), delay_ms=UNAVAILABLE_MS)
    except RetryLater as wait:
        return wait


def _messages(got: Iterable[Reference]) -> Iterator[list[bytes]]:
    """Group references into messages of a bounded size."""
    message: list[bytes] = []
    size = 0
    for reference in got:
        message.append(encode_reference(reference))
        size += len(message[-1])
        if size >= MESSAGE_BYTES:
            yield message
            message, size = [], 0
    if message:
        yield message


async def _postpone(
    waiting: Sequence[tuple[Reference, RetryLater]], tries: int, budget_class: int | None
) -> None:
    """Send delayed messages to this actor; after `MAX_TRIES` in an outage use the ledger."""
    spent = [(r, wait) for r, wait in waiting if isinstance(wait, Spent)]
    in_outage = [(r, wait) for r, wait in waiting if not isinstance(wait, Spent)]
    # At least a hundredth of the window: while the budget is spent, tokens are returned one by
    # one, and a message per token would be too many messages.
    await _send_later(spent, resources().settings.esi_window_s * 10, tries, budget_class)
    if tries + 1 < MAX_TRIES:
        await _send_later(in_outage, UNAVAILABLE_MS * 2**tries, tries + 1, budget_class)
    elif in_outage:
        left = [reference for reference, _ in in_outage]
        await postpone(resources().database, left, LEFT_TO_LEDGER * random.uniform(1.0, 1.5))


async def _send_later(
    waiting: Sequence[tuple[Reference, RetryLater]],
    min_ms: int,
    tries: int,
    budget_class: int | None,
) -> None:
    if waiting:
        delay_ms = max(min_ms, *(wait.delay_ms for _, wait in waiting))
        later = [encode_reference(reference) for reference, _ in waiting]
        await enqueue(fetch, later, tries, budget_class, delay_ms=_jittered(delay_ms))


async def _refuse(
    refused: Sequence[tuple[Reference, Invalid]], budget_class: int | None
) -> list[bytes]:
    """Record refusals; return rejections of those that are final, postpone the others."""
    if not refused:
        return []
    reasons = {(r.source, r.position): str(reason) for r, reason in refused}
    later: dict[timedelta, list[bytes]] = defaultdict(list)
    rejections = []
    for refusal in await record_refusals(resources().database, [r for r, _ in refused]):
        reference = refusal.reference
        value = encode_reference(reference)
        if refusal.is_final:
            reason = reasons[reference.source, reference.position]
            rejections.append(encode_rejection(reason, value, reference))
        elif refusal.wait <= MAX_MESSAGE_DELAY:
            later[refusal.wait].append(value)
    for wait, values in later.items():
        delay_ms = wait // timedelta(milliseconds=1)
        await enqueue(fetch, values, 0, budget_class, delay_ms=_jittered(delay_ms))
    return rejections


def _jittered(delay_ms: int) -> int:
    """Add a jitter of up to a half to a delay."""
    return int(min(delay_ms, MAX_DELAY_MS / 1.5) * random.uniform(1.0, 1.5))
