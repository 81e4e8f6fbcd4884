"""What is read of zKillboard's block: the labels and the total value. No I/O."""

from functools import lru_cache
from math import isfinite
from typing import Any, Final, NamedTuple

import msgspec

MAX_LABELS: Final = 100
MAX_LABEL_CHARS: Final = 100


class ZkbFacts(NamedTuple):
    """What killmails are found by."""

    labels: frozenset[str]
    total_value: float | None
    """ISK; None when it is unknown."""


UNKNOWN: Final = ZkbFacts(frozenset(), None)


class _Zkb(msgspec.Struct, rename="camel"):
    labels: Any = None
    total_value: Any = None


def facts_of(zkb: bytes | msgspec.Raw) -> ZkbFacts:
    """Read a block; what has another shape than zKillboard's is unknown."""
    return _facts_of(bytes(zkb)) if zkb else UNKNOWN


@lru_cache(2_000)  # labels, columns and postings of a batch are read from the same blocks
def _facts_of(zkb: bytes) -> ZkbFacts:
    try:
        read = msgspec.json.decode(zkb, type=_Zkb)
    except (msgspec.DecodeError, RecursionError):
        return UNKNOWN
    labels = read.labels if isinstance(read.labels, list) else []
    strings = [one for one in labels if isinstance(one, str) and len(one) <= MAX_LABEL_CHARS]
    return ZkbFacts(frozenset(strings[:MAX_LABELS]), _value(read.total_value))


def _value(given: Any) -> float | None:
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    try:
        value = float(given)
    except OverflowError:
        return None
    return value if isfinite(value) and value >= 0 else None
