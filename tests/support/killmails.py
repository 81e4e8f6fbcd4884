"""The killmails that tests and benches play: real ones where they stand, else made up."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec

from actors.shared.reference import NO_JSON, Reference, encode_reference
from deploy.standin.server import StandinOptions, load_deck

DATA = Path(__file__).parents[2].parent / "shared" / "data"
REAL = DATA / "killmails.jsonl.gz"
REAL_COUNT = 57_959


def are_real() -> bool:
    """Tell whether the real killmails stand beside the project."""
    return REAL.exists()


def describe() -> str:
    """Say which killmails are played."""
    which = f"real, from {DATA.parent.name}/{DATA.name}" if are_real() else "made up, seed 1"
    return f"killmails played: {which}"


def play_options(count: int | None = None, **options: object) -> StandinOptions:
    """Choose what a stand-in plays: the real killmails, or as many made up."""
    if are_real() and count is None:
        return StandinOptions(
            killmails=REAL,
            hashes=DATA / "killmail-hashes.csv.gz",
            zkb=DATA / "zkb.jsonl.gz",
            universe=DATA / "universe",
            **options,  # type: ignore[arg-type]
        )
    return StandinOptions(synthetic=count or REAL_COUNT, seed=1, **options)  # type: ignore[arg-type]


def play_arguments(count: int | None = None) -> list[str]:
    """Say the same to `killstream standin`."""
    if are_real() and count is None:
        return [
            f"--killmails={REAL}",
            f"--hashes={DATA / 'killmail-hashes.csv.gz'}",
            f"--zkb={DATA / 'zkb.jsonl.gz'}",
            f"--universe={DATA / 'universe'}",
        ]
    return ["--synthetic", f"--count={count or REAL_COUNT}", "--seed=1"]


@cache
def bodies() -> dict[int, bytes]:
    """Give ESI's bodies by killmail_id."""
    return {played.killmail_id: played.body for played in load_deck(play_options()).killmails}


def references(*, with_body: bool = True) -> Iterator[bytes]:
    """Give what a source would have put on the topic for each killmail."""
    for position, played in enumerate(load_deck(play_options()).killmails):
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
