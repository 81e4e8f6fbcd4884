"""The killmails that tests and benches play: real ones where they stand, else made up."""

import gzip
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from actors.shared.reference import NO_JSON, Reference, encode_reference
from deploy.standin.server import StandinOptions, load_dataset

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
REAL = DATA / "killmails.jsonl.gz"
REAL_COUNT = 57_959


def are_real() -> bool:
    """Tell whether the real killmails stand beside the project."""
    return REAL.exists()


def describe() -> str:
    """Say which killmails are played."""
    which = f"real, from {DATA.parent.name}/{DATA.name}" if are_real() else "made up, seed 1"
    return f"killmails played: {which}"


def standin_options(count: int = REAL_COUNT, **options: Any) -> StandinOptions:
    """Choose what a stand-in plays: so many of the real killmails, or as many made up."""
    if are_real():
        return StandinOptions(
            killmails=_some(count),
            hashes=DATA / "killmail-hashes.csv.gz",
            zkb=DATA / "zkb.jsonl.gz",
            universe=DATA / "universe",
            **options,
        )
    return StandinOptions(synthetic=count, **options)


def standin_arguments() -> list[str]:
    """Have `killstream standin` play all killmails."""
    if are_real():
        return [
            f"--killmails={REAL}",
            f"--hashes={DATA / 'killmail-hashes.csv.gz'}",
            f"--zkb={DATA / 'zkb.jsonl.gz'}",
            f"--universe={DATA / 'universe'}",
        ]
    return ["--synthetic", f"--count={REAL_COUNT}", "--seed=1"]


def _some(count: int) -> Path:
    """Give a file of so many real killmails, taken from all over theirs."""
    if count == REAL_COUNT:
        return REAL
    some = ROOT / ".killstream" / f"killmails-{count}.jsonl"
    if not some.exists():
        with gzip.open(REAL) as file:
            lines = file.readlines()
        some.parent.mkdir(exist_ok=True)
        some.write_bytes(b"".join(lines[:: REAL_COUNT // count][:count]))
    return some


@cache
def bodies() -> dict[int, bytes]:
    """Give ESI's bodies by killmail_id."""
    return {played.killmail_id: played.body for played in load_dataset(standin_options()).killmails}


def references(count: int = REAL_COUNT, *, with_body: bool = True) -> Iterator[bytes]:
    """Give what a source would have put on the topic for each killmail, or for some of them."""
    for position, played in enumerate(load_dataset(standin_options(count)).killmails):
        yield encode_reference(
            Reference(
                source="r2z2:bench",
                position=position,
                as_of=1_700_000_000.0 + position,
                killmail_id=played.killmail_id,
                hash=played.killmail_hash,
                zkb=msgspec.Raw(played.zkb),
                body=msgspec.Raw(played.body) if with_body else NO_JSON,
            )
        )
