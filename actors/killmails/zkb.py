"""What is read of zKillboard's block: the labels and the total value. No I/O."""

from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from actors.shared.zkb import labels_of, number_of


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
    return ZkbFacts(labels_of({"labels": read.labels}), number_of(read.total_value))
