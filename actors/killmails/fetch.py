"""Fetch killmails' bodies from ESI: step 3 of a killmail's way, where the source gave no body.

Takes references; gives each on to `persist` with its body, or to `reject` with the reason, or to
itself for later. All that is sent before this message is done, so a crash loses nothing: the
message comes again, and `persist` knows what it has.
"""

import asyncio
import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

import msgspec
from sqlalchemy import select

from actors.broker import ESI_QUEUE, MAX_PRIORITY, actor, enqueue
from actors.esi.client import Garbled, Refused, Unavailable
from actors.killmails.persist import persist
from actors.killmails.reject import reject
from actors.resources import resources
from actors.shared.body import unpack
from actors.shared.database import reading
from actors.shared.errors import Invalid, RetryLater
from actors.shared.reference import Reference, decode_reference, encode_reference
from actors.shared.rejection import encode_rejection
from actors.shared.rows import among
from actors.shared.tables import KILLMAILS

MAX_REFUSALS: Final = 2
"""So often ESI refuses a killmail before we believe it: under load it says 422 of good ones."""
REFUSED_AGAIN_MS: Final = 60_000
UNAVAILABLE_AGAIN_MS: Final = 30_000
LONGEST_DELAY_MS: Final = 300_000
"""Longest delay of a message: RabbitMQ takes back what a consumer holds for 30 minutes."""
MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Size at which a message to `persist` is full."""

Key = tuple[int, str]
"""killmail_id and hash."""


@actor(queue_name=ESI_QUEUE, priority=0)
async def fetch(references: list[bytes], refusals: int = 0) -> None:
    """Get bodies, from the database or from ESI, and hand them on.

    What can't be had now is put off by itself; the rest goes on.

    Args:
        references: as `actors.shared.reference` writes them, without bodies.
        refusals: how often ESI has refused these very killmails already.
    """
    wanted, rejections = _read(references)
    bodies = await _get_bodies({(r.killmail_id, r.hash) for r in wanted})
    outcomes = [(r, bodies[r.killmail_id, r.hash]) for r in wanted]
    got = [(r, body) for r, body in outcomes if isinstance(body, bytes)]
    put_off = [(r, wait) for r, wait in outcomes if isinstance(wait, RetryLater)]
    refused = [(r, why) for r, why in outcomes if isinstance(why, Invalid)]
    for message in _messages(got):
        await enqueue(persist, message, priority=MAX_PRIORITY)
    await _defer(put_off, refusals)
    if refused and refusals + 1 < MAX_REFUSALS:
        again = [encode_reference(r) for r, _ in refused]
        await enqueue(fetch, again, refusals + 1, delay_ms=_spread(REFUSED_AGAIN_MS))
    else:
        rejections += [encode_rejection(str(why), encode_reference(r), r) for r, why in refused]
    if rejections:
        await enqueue(reject, rejections)


def _read(references: Iterable[bytes]) -> tuple[list[Reference], list[bytes]]:
    """Read a batch; what is no reference becomes a rejection with the reason."""
    wanted, rejections = [], []
    for value in references:
        try:
            wanted.append(decode_reference(value))
        except Invalid as error:
            rejections.append(encode_rejection(str(error), value))
    return wanted, rejections


async def _get_bodies(keys: set[Key]) -> dict[Key, bytes | RetryLater | Invalid]:
    """Get each body once, or the reason why there is none, from ESI only where it isn't stored."""
    stored = await _stored(keys)
    missing = sorted(keys - stored.keys())
    answers = await asyncio.gather(*(_ask(*key) for key in missing))
    return {**stored, **dict(zip(missing, answers, strict=True))}


async def _stored(keys: Collection[Key]) -> dict[Key, bytes]:
    ids = [killmail_id for killmail_id, _ in keys]
    query = select(KILLMAILS.c.killmail_id, KILLMAILS.c.killmail_hash, KILLMAILS.c.body)
    async with reading(resources().database) as connection:
        rows = await connection.execute(
            query.where(among(connection, KILLMAILS.c.killmail_id, ids))
        )
        return {(row.killmail_id, row.killmail_hash): unpack(row.body) for row in rows}


async def _ask(killmail_id: int, killmail_hash: str) -> bytes | RetryLater | Invalid:
    try:
        return await resources().esi.killmail(killmail_id, killmail_hash)
    except (Refused, Garbled) as error:
        return Invalid(str(error))
    except Unavailable as error:
        return RetryLater(str(error), delay_ms=UNAVAILABLE_AGAIN_MS)
    except RetryLater as wait:
        return wait


def _messages(got: Iterable[tuple[Reference, bytes]]) -> Iterator[list[bytes]]:
    """Put the bodies into references, and those into messages of a bounded size."""
    message: list[bytes] = []
    size = 0
    for reference, body in got:
        whole = msgspec.structs.replace(reference, body=msgspec.Raw(body))
        message.append(encode_reference(whole))
        size += len(message[-1])
        if size >= MESSAGE_BYTES:
            yield message
            message, size = [], 0
    if message:
        yield message


async def _defer(waiting: Sequence[tuple[Reference, RetryLater]], refusals: int) -> None:
    """Send what has to wait to ourselves.

    No sooner than after a hundredth of the window: while the budget is spent, tokens come back
    one by one, and a message a token would keep us busy with messages.
    """
    if not waiting:
        return
    least_ms = resources().settings.esi_window_s * 10
    delay_ms = max(least_ms, *(wait.delay_ms for _, wait in waiting))
    again = [encode_reference(reference) for reference, _ in waiting]
    await enqueue(fetch, again, refusals, delay_ms=_spread(delay_ms))


def _spread(delay_ms: int) -> int:
    """Lengthen a delay by up to a half, so that not all come back at once."""
    return int(min(delay_ms, LONGEST_DELAY_MS / 1.5) * random.uniform(1.0, 1.5))
