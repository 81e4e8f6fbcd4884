"""Handle the file of a ledger entry that is read again.

Its file was late, rewritten or unreadable, or its killmail didn't become durable.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from actors.shared.reference import Reference
from streams.sources.decode import Found, Garbage, Nothing
from streams.sources.r2z2.files import File
from streams.sources.step import MAX_REJECTED_BYTES, Gap, LedgerEntry, Pending, Refused, Step
from streams.sources.waits import Waits

GONE_AFTER: Final = 3
"""Tries after which a file that was read before and is absent is gone."""


def reread(source: str, entry: LedgerEntry, file: File, unreadable: int, waits: Waits) -> Step:
    """Make the step for an entry; an empty step leaves it in the ledger until it is due again.

    `unreadable` counts the responses that were neither a file nor a 404.
    """
    match file.outcome:
        case None:
            return _absent(source, entry, waits)
        case Garbage(reason, may_pass) if file.value is not None:
            if may_pass and unreadable < len(waits.retry_s):
                delay_s = waits.retry_s[max(unreadable - 1, 0)]
                return Step(pending=(Pending(entry.position, delay_s),))
            return _by_hash(source, entry) or refuse(source, file.number, reason, file.value)
        case Nothing():
            placeholder = Step(acked=(entry.position,), skipped="placeholder")
            return _by_hash(source, entry) or placeholder
        case Found() as found:
            return Step(references=(found.reference(source, entry.position),))
    return Step()


def refuse(source: str, number: int, reason: str, value: bytes, cursor: int | None = None) -> Step:
    """Make the step for a file that is no killmail."""
    refused = Refused(source, number, reason, value[:MAX_REJECTED_BYTES])
    return Step(cursor, refused=(refused,))


def _absent(source: str, entry: LedgerEntry, waits: Waits) -> Step:
    expired = datetime.now(UTC) - entry.received_at >= timedelta(seconds=waits.live_s)
    if (gone := _by_hash(source, entry)) is not None:
        return gone if expired or entry.tries + 1 >= GONE_AFTER else Step()
    if not expired:
        return Step()
    return Step(gaps=(Gap(entry.position, entry.position, "absent"),), skipped="absent")


def _by_hash(source: str, entry: LedgerEntry) -> Step | None:
    """Make the step for a killmail whose file is gone; None when id or hash are unknown.

    ESI has every killmail: a reference without a body is fetched.
    """
    if entry.killmail_id is None or entry.killmail_hash is None:
        return None
    reference = Reference(
        source=source,
        position=entry.position,
        as_of=0.0,
        killmail_id=entry.killmail_id,
        hash=entry.killmail_hash,
    )
    return Step(references=(reference,), skipped="gone")
