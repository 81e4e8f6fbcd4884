"""What a run came to: what is missing, doubled or left over, and where it stands."""

from collections import Counter
from collections.abc import Mapping
from statistics import quantiles
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.body import unpack
from actors.shared.dictionaries import read_bodies
from actors.shared.tables import FEED, GAPS, KILLMAILS, LEDGER, REJECTED, UNPUBLISHED
from deploy.standin.dataset import Dataset
from deploy.standin.faults import Faults
from tests.support.pipeline import Pipeline
from tests.support.processes import killstream
from tests.support.subscriber import Subscriber
from tests.support.tables import rows

SHOWN: Final = 20
"""How many of a kind are named."""
LOG_LINES: Final = 15


async def stored_verdict(database: AsyncEngine, dataset: Dataset) -> dict[str, Any]:
    """Compare the database with what was played. What should be empty is empty in a good run."""
    bodies = {killmail.killmail_id: killmail.body for killmail in dataset.killmails}
    async with database.connect() as connection:
        query = select(KILLMAILS.c.killmail_id, KILLMAILS.c.body)
        found = await read_bodies(connection, query)
        stored = {killmail_id: unpack(body) for killmail_id, body in found}
        feed = (await connection.execute(select(FEED).order_by(FEED.c.sequence))).all()
    added = Counter(row.killmail_id for row in feed if row.kind == "added")
    return {
        "stored": len(stored),
        "missing": sorted(bodies.keys() - stored.keys()),
        "wrong_bodies": sorted(i for i, body in stored.items() if bodies.get(i) != body),
        "feed_is_gapless": [row.sequence for row in feed] == list(range(1, len(feed) + 1)),
        "added_more_than_once": sorted(i for i, count in added.items() if count > 1),
        "updated": len(feed) - added.total(),
        "unpublished": len(await rows(database, UNPUBLISHED)),
        "ledger": await unresolved(database, dataset),
        "gaps": [(g["first_position"], g["last_position"]) for g in await rows(database, GAPS)],
        "rejected": [row["reason"] for row in await rows(database, REJECTED)][:SHOWN],
    }


async def unresolved(database: AsyncEngine, dataset: Dataset) -> list[dict[str, Any]]:
    """List the ledger's entries, except holes that are holes for ever."""
    holes = hole_sequences(dataset)
    return [entry for entry in await rows(database, LEDGER) if entry["position"] not in holes]


def hole_sequences(dataset: Dataset) -> set[int]:
    """List the sequence numbers that never get a file."""
    slots = enumerate(dataset.slots)
    return {dataset.first_sequence + position for position, slot in slots if slot.kind == "hole"}


def is_good(verdict: Mapping[str, Any]) -> bool:
    """Tell whether nothing is missing, doubled, wrong or left over."""
    empty = ("missing", "wrong_bodies", "added_more_than_once", "unpublished", "ledger", "rejected")
    delivered = all(
        not client["missing"] and not client["doubled"] for client in verdict["clients"]
    )
    return verdict["feed_is_gapless"] and delivered and not any(verdict[name] for name in empty)


def client_verdict(subscriber: Subscriber, dataset: Dataset) -> dict[str, Any]:
    """Compare what a subscriber got with what was played."""
    ids = {killmail.killmail_id for killmail in dataset.killmails}
    return {
        "missing": len(ids - subscriber.seen.keys()),
        "doubled": subscriber.seen.total() - len(subscriber.seen),
        "interruptions": dict(subscriber.interruptions),
    }


def latencies_s(came_s: Mapping[int, float], dataset: Dataset, faults: Faults) -> dict[str, float]:
    """Tell how long killmails took from their file to the subscriber."""
    taken_s = sorted(
        came_s[killmail_id] - dataset.available_at_s(position, faults)
        for killmail_id, position in positions_of(dataset).items()
        if killmail_id in came_s
    )
    if len(taken_s) < 2:
        return {}
    cuts = quantiles(taken_s, n=100)
    shares = {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98], "max": taken_s[-1]}
    return {name: round(value, 1) for name, value in shares.items()}


def positions_of(dataset: Dataset) -> dict[int, int]:
    """Tell at which position each killmail is played first, by killmail_id."""
    return {
        dataset.killmails.summary(slot.index).killmail_id: position
        for position, slot in reversed(list(enumerate(dataset.slots)))
        if slot.kind == "killmail"
    }


async def _status(pipe: Pipeline) -> list[str]:
    """Ask `killstream status`, as an operator would."""
    log = pipe.logs / "status.txt"
    async with killstream("status", settings=pipe.settings, log=log) as process:
        await process.process.wait()
    return ["killstream status:", *log.read_text().splitlines()]


async def explain(pipe: Pipeline, dataset: Dataset, verdict: Mapping[str, Any]) -> str:
    """Say where missing killmails stand, what the ledger holds, what processes logged last."""
    positions, ledger = positions_of(dataset), {e["position"]: e for e in verdict["ledger"]}
    missing = sorted(positions[killmail_id] for killmail_id in verdict["missing"])
    lines = [f"missing: {len(missing)}"]
    for position in missing[:SHOWN]:
        sequence = dataset.first_sequence + position
        summary = dataset.killmails.summary(dataset.slot(position).index)
        lines.append(f"  {sequence} {summary.killmail_id}: ledger has {ledger.get(sequence)}")
    kinds = Counter((entry["kind"], entry["tries"]) for entry in verdict["ledger"])
    lines.append(f"ledger, by kind and tries: {dict(kinds)}")
    lines += [f"  {entry}" for entry in verdict["ledger"][:SHOWN]]
    lines += await _status(pipe)
    for log in sorted(pipe.logs.glob("*.log")):
        said = log.read_text(errors="replace").splitlines()
        lines += [f"{log.name}, {len(said)} lines, the last:"]
        lines += [f"  {line[:300]}" for line in said[-LOG_LINES:]]
    return "\n".join(lines)
