"""Format dead letters for `killstream dead`."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from dramatiq.common import xq_name

from deploy import dead_letters
from deploy.cli.status import ago
from deploy.dead_letters import DeadLetter
from deploy.shorten import printable

GROUPS: Final = 20
"""Reasons in the counts; the other reasons are summed in one line."""
KILLMAILS: Final = 3
"""Killmail ids per message in the list."""

Counts = Counter[tuple[str, str, str]]
"""The number of dead letters by queue, actor and reason."""


def as_json(
    found: Sequence[DeadLetter],
    counts: Counts,
    known: Collection[str],
    now_s: float,
) -> dict[str, Any]:
    """Build the JSON object of the list."""
    return {
        "counts": [
            {"queue": queue, "actor": actor, "reason": reason, "count": count}
            for (queue, actor, reason), count in counts.most_common()
        ],
        "dead": [
            msgspec.structs.asdict(one)
            | {"age_s": age_s(one, now_s), "actor_exists": one.actor in known}
            for one in found
        ],
    }


def count_lines(counts: Counts, known: Collection[str]) -> Iterator[str]:
    """Format the counts by queue, actor and reason."""
    for (queue, actor, reason), count in counts.most_common(GROUPS):
        yield f"{count:>8,}  {queue}  {actor_name(actor, known)}  {reason}"
    rest = counts.most_common()[GROUPS:]
    if rest:
        yield f"{sum(count for _, count in rest):>8,}  for {len(rest):,} other reasons"


def actor_name(actor: str, known: Collection[str]) -> str:
    """Return an actor's name, with a remark when this version doesn't have the actor."""
    if actor == dead_letters.UNREADABLE:
        return "(not an actor's message)"
    return actor if actor in known else f"{actor} (no such actor in this version)"


def line(one: DeadLetter, now_s: float) -> str:
    """Format a dead letter in one line, without its content."""
    ids = [str(killmail_id) for killmail_id in one.killmail_ids[:KILLMAILS]]
    more = len(one.killmail_ids) - len(ids)
    killmails = f", killmails {', '.join(ids)}" if ids else ""
    return (
        f"{one.message_id}  {one.queue}  {one.actor}  {_sent(one, now_s)}, {one.tries} tries,"
        f" {one.size_bytes:,} bytes{killmails}{f' and {more:,} more' if more else ''}: {one.reason}"
    )


def _sent(one: DeadLetter, now_s: float) -> str:
    return "age unknown" if one.sent_at_ms is None else ago(age_s(one, now_s))


def age_s(one: DeadLetter, now_s: float) -> float | None:
    """Return the seconds since the message was first sent; None if unknown."""
    return None if one.sent_at_ms is None else round(now_s - one.sent_at_ms / 1000, 1)


def detail_lines(
    one: DeadLetter, body: bytes, known: Collection[str], now_s: float
) -> Iterator[str]:
    """Format a dead letter with its content."""
    yield f"message    {one.message_id}"
    yield f"queue      {one.queue}, now in {xq_name(one.queue)}"
    yield f"actor      {actor_name(one.actor, known)}"
    yield f"sent       {_sent(one, now_s)}"
    yield f"tries      {one.tries}"
    yield f"reason     {one.reason}"
    yield f"bytes      {one.size_bytes:,}"
    yield f"killmails  {', '.join(map(str, one.killmail_ids)) or '-'}"
    message = dead_letters.parse(body)
    if message is None:
        yield f"content    {printable(body.decode('utf-8', 'backslashreplace'))}"
        return
    options = dict(message.options)
    traceback = str(options.pop("traceback", ""))
    yield f"options    {printable(str(options))}"
    for argument in _flat([*message.args, *message.kwargs.items()]):
        yield f"argument   {printable(argument)}"
    for line in traceback.splitlines():
        yield f"traceback  {printable(line)}"


def _flat(arguments: Iterable[Any]) -> Iterator[str]:
    """Yield the arguments as text, lists item by item."""
    for argument in arguments:
        if isinstance(argument, list):
            yield from _flat(argument)
        elif isinstance(argument, bytes):
            yield argument.decode("utf-8", "backslashreplace")
        else:
            yield str(argument)
