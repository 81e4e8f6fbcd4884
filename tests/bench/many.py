"""As many killmails as wanted, made from the real ones.

Each copy is one more stretch of history: ids and times go on, and most characters, half of the
corporations and half of the alliances are others than in the copies before.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, Final

import msgspec

from actors.shared.killmail import parse_killmail
from actors.shared.reference import Reference, decode_reference, encode_reference
from tests.support.killmails import references

FIRST_ID: Final = 20_000_000
COPY_DAYS: Final = 4
DENSE: Final = 100
"""Killmails of a day from which it is taken: single ones of all years would mix up the copies."""
KEPT_PERCENT: Final = {"character_id": 25, "corporation_id": 50, "alliance_id": 55}
"""How many of the entities occur in the next copy, too."""
OTHERS: Final = 1_000_000_000
"""Between the ids of an entity and its successor in the next copy."""


def many_references(count: int) -> Iterator[bytes]:
    """Give so many references with bodies, in the order of their ids."""
    originals = _of_dense_days()
    copies = itertools.count()
    of_all = ((copy, index, one) for copy in copies for index, one in enumerate(originals))
    for copy, index, one in itertools.islice(of_all, count):
        yield encode_reference(_changed(one, copy, FIRST_ID + copy * len(originals) + index))


def _of_dense_days() -> list[Reference]:
    by_day: dict[date, list[Reference]] = defaultdict(list)
    for one in map(decode_reference, references()):
        by_day[parse_killmail(one.body).killmail_time.date()].append(one)
    dense = [one for of_day in by_day.values() if len(of_day) > DENSE for one in of_day]
    return sorted(dense, key=lambda one: one.killmail_id)


def _changed(original: Reference, copy: int, killmail_id: int) -> Reference:
    body: dict[str, Any] = msgspec.json.decode(original.body)
    time = parse_killmail(original.body).killmail_time + timedelta(days=COPY_DAYS * copy)
    body |= {"killmail_id": killmail_id, "killmail_time": f"{time:%Y-%m-%dT%H:%M:%SZ}"}
    for involved in (body["victim"], *body["attackers"]):
        for name, percent in KEPT_PERCENT.items():
            if name in involved:
                involved[name] = _successor(involved[name], copy, percent)
    return Reference(
        source="bench:many",
        position=killmail_id,
        as_of=1_700_000_000.0,
        killmail_id=killmail_id,
        hash="",
        zkb=original.zkb,
        body=msgspec.Raw(msgspec.json.encode(body)),
    )


def _successor(entity_id: int, copy: int, kept_percent: int) -> int:
    for generation in range(copy, 0, -1):
        if (entity_id * 2_654_435_761 + generation * 40_503) % 2**32 % 100 >= kept_percent:
            return entity_id + generation * OTHERS
    return entity_id
