"""The dataset: releases the layout's positions over time, and builds their files."""

from collections.abc import Iterator, Sequence
from typing import Final

from deploy.standin.faults import Faults
from deploy.standin.killmails import Killmails
from deploy.standin.layout import Layout, Slot
from deploy.standin.malformed import Parts, occurs, parts_of
from deploy.standin.zkb import with_gank_label

_NO_FAULTS: Final = Faults()


class Dataset:
    """A sequence of killmails that is released number by number.

    A position is the index of a slot; the sequence number is `first_sequence` + position. Without
    a rate all positions are released at the start.
    """

    def __init__(
        self,
        killmails: Killmails,
        *,
        seed: int,
        faults: Faults,
        first_sequence: int,
        rate_per_s: float | None,
        started_at_s: float,
    ) -> None:
        self.killmails = killmails
        self.first_sequence = first_sequence
        self.requested_until = 0
        """Positions below this may have been requested; they don't change any more."""
        self._layout = Layout(len(killmails), seed, faults, first_sequence)
        self._seed = seed
        self._rate_per_s = rate_per_s
        self._started_at_s = started_at_s
        self._rewritten: dict[int, int] = {}
        """By rewritten position, the position that rewrote it."""
        if rate_per_s is None:
            self._layout.extend_to_end()

    def released(self, now_s: float) -> int:
        """Return the number of released positions."""
        if self._rate_per_s is None:
            return len(self._layout.slots)
        due = max(0, int((now_s - self._started_at_s) * self._rate_per_s)) + 1
        self._layout.extend(due)
        return min(due, len(self._layout.slots))

    def released_at_s(self, position: int) -> float:
        """Return the time of a position's release."""
        if self._rate_per_s is None:
            return self._started_at_s
        return self._started_at_s + position / self._rate_per_s

    def available_at_s(self, position: int, faults: Faults) -> float:
        """Return the time from which the file of a position exists: its release, or later."""
        late_s = 0.0
        if occurs("late", faults.late_rate, self._seed, position):
            late_s = faults.late_s
        sequence = self.first_sequence + position
        delays_s = [run.late_s for run in faults.absent if run.late_s and run.contains(sequence)]
        return self.released_at_s(position) + max([late_s, *delays_s])

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots that are laid out so far."""
        return self._layout.slots

    def slot(self, position: int) -> Slot:
        """Return the slot of a released position."""
        return self._layout.slots[position]

    def mark_requested(self, position: int) -> None:
        """Record a request of a position: it can't change any more; its rewrite takes effect."""
        if position >= self.requested_until:
            self.requested_until = position + 1
        updates = self._layout.slots[position].updates
        if updates is not None:
            self._rewritten[updates] = position

    def rewritten(self, position: int) -> bool:
        """Return whether the file of a position was rewritten."""
        return position in self._rewritten

    def relayout(self, faults: Faults, now_s: float) -> None:
        """Lay out all positions that can't have been requested yet again, with other faults."""
        seen = self.requested_until
        if self._rate_per_s is not None:
            seen = max(seen, self.released(now_s))
        self._layout.relayout(seen, faults)
        if self._rate_per_s is None:
            self._layout.extend_to_end()

    def parts(self, position: int, faults: Faults = _NO_FAULTS) -> Parts:
        """Return the current parts of a position's killmail, with the faults of hash and body."""
        killmail = self.killmails[self._layout.slots[position].index]
        zkb = with_gank_label(killmail.zkb) if self.rewritten(position) else killmail.zkb
        return parts_of(killmail, zkb, faults, self._seed, position)

    def document(self, position: int, faults: Faults = _NO_FAULTS) -> bytes | None:
        """Build the file of a position; None for a hole."""
        slot = self._layout.slots[position]
        if slot.kind == "hole":
            return None
        rewritten_by = self._rewritten.get(position)
        uploaded_at = int(
            self.available_at_s(position, faults)
            if rewritten_by is None
            else self.released_at_s(rewritten_by) + 1
        )
        sequence = self.first_sequence + position
        if slot.kind == "null":
            return _PLACEHOLDER % (uploaded_at, sequence)
        parts = self.parts(position, faults)
        body = b"" if parts.body is None else b',"esi":' + parts.body
        updated = b""
        if slot.updates is not None:
            updated = b',"sequence_updated":%d' % (self.first_sequence + slot.updates)
        return b"".join(
            (
                b'{"killmail_id":%d,"hash":' % self.killmails[slot.index].killmail_id,
                parts.hash,
                body,
                b',"zkb":',
                parts.zkb,
                b',"uploaded_at":%d,"sequence_id":%d' % (uploaded_at, sequence),
                updated,
                b"}",
            )
        )

    def documents(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield all files that are laid out as (sequence number, file or None for a hole)."""
        for position in range(len(self._layout.slots)):
            yield self.first_sequence + position, self.document(position)

    def released_indexes(self, now_s: float) -> list[int]:
        """Return the indexes of the released killmails, each once, in the order of release."""
        slots = self._layout.slots[: self.released(now_s)]
        return [slot.index for slot in slots if slot.kind == "killmail" and not slot.duplicate]


_PLACEHOLDER = (
    b'{"killmail_id":null,"hash":null,"esi":null,"zkb":{"hash":null,'
    b'"href":"https://esi.evetech.net/killmails///"},"uploaded_at":%d,"sequence_id":%d}'
)
