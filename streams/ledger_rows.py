"""Insert and update the ledger's rows for steps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import case, func
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.reference import encode_reference, is_hash
from actors.shared.rows import insert_into, insert_missing
from actors.shared.tables import LEDGER
from streams.sources.step import Kind, LedgerEntry, Step

COLUMNS: Final = ("source", *(field.name for field in fields(LedgerEntry)))
_FROM_READING: Final = ("reference", "killmail_id", "killmail_hash", "object_id")

Row = tuple[Any, ...]
_POSITION: Final = itemgetter(COLUMNS.index("position"))


@dataclass(frozen=True, slots=True)
class Rows:
    """Builds and writes the rows of one transaction."""

    source: str
    now: datetime
    durable_by: datetime
    """When received entries are due again."""
    gives_once: bool

    async def write(self, connection: AsyncConnection, steps: Iterable[Step]) -> None:
        """Write the rows of steps, in the caller's transaction."""
        new: list[Row] = []
        existing: list[Row] = []
        for step in steps:
            # A position before the cursor may have a row already.
            (existing if step.cursor is None else new).extend(self._received(step))
        columns = zip(*sorted(new, key=_POSITION), strict=True)
        await insert_missing(
            connection, LEDGER, dict(zip(COLUMNS, map(list, columns), strict=False))
        )
        if existing:
            await connection.execute(_update_received(connection), _named(existing))
        if pending := [row for step in steps for row in self._pending(step)]:
            await connection.execute(_postpone(connection), _named(pending))

    def _received(self, step: Step) -> Iterator[Row]:
        for r in step.references:
            whole = encode_reference(r) if self.gives_once else None
            hash_ = r.hash if is_hash(r.hash) else None
            yield self._row(r.position, "received", self.durable_by, whole, r.killmail_id, hash_)
        for refused in step.refused:
            whole = refused.value if self.gives_once else None
            yield self._row(refused.position, "received", self.durable_by, whole)
        for position, object_id in zip(step.object_positions, step.objects, strict=True):
            yield self._row(position, "object", self.now, object_id=object_id)

    def _pending(self, step: Step) -> Iterator[Row]:
        for pending in step.pending:
            due_at = self.now + timedelta(seconds=pending.delay_s)
            yield self._row(pending.position, "hole", due_at)

    def _row(
        self,
        position: int,
        kind: Kind,
        next_try_at: datetime,
        reference: bytes | None = None,
        killmail_id: int | None = None,
        killmail_hash: str | None = None,
        object_id: str | None = None,
    ) -> Row:
        """Make a row in the order of COLUMNS."""
        return (
            self.source,
            position,
            kind,
            reference,
            killmail_id,
            killmail_hash,
            object_id,
            0,
            self.now,
            next_try_at,
        )


def _update_received(connection: AsyncConnection) -> Any:
    """Keep `tries` of existing rows; reset it when a hole or object becomes a killmail."""
    insert = insert_into(connection, LEDGER)
    becomes_received = LEDGER.c.kind != "received"
    reset = {
        name: case((becomes_received, insert.excluded[name]), else_=LEDGER.c[name])
        for name in ("received_at", "next_try_at", "tries")
    }
    return insert.on_conflict_do_update(
        index_elements=[LEDGER.c.source, LEDGER.c.position],
        set_={name: func.coalesce(insert.excluded[name], LEDGER.c[name]) for name in _FROM_READING}
        | reset
        | {"kind": insert.excluded.kind},
    )


def _postpone(connection: AsyncConnection) -> Any:
    insert = insert_into(connection, LEDGER)
    return insert.on_conflict_do_update(
        index_elements=[LEDGER.c.source, LEDGER.c.position],
        set_={"next_try_at": insert.excluded.next_try_at},
    )


def _named(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in sorted(rows, key=_POSITION)]
