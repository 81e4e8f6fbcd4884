"""How `killstream dead` writes dead letters."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from dramatiq.common import xq_name

from deploy import dead_letters
from deploy.cli.status import ago
from deploy.dead_letters import DeadLetter

GROUPS: Final = 20
"""How many reasons are counted in the list; the rest is one line."""
KILLMAILS: Final = 3
"""How many killmails of a message are named in the list."""

Counts = Counter[tuple[str, str, str]]
"""How many of a queue, an actor and a reason."""


def as_json(
    found: Sequence[DeadLetter],
    counts: Counts,
    known: Collection[str],
    now_s: float,
) -> dict[str, Any]:
    """Write a list for programs."""
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
    """Write how many there are of which reason."""
    for (queue, actor, reason), count in counts.most_common(GROUPS):
        yield f"{count:>8,}  {queue}  {named(actor, known)}  {reason}"
    rest = counts.most_common()[GROUPS:]
    if rest:
        yield f"{sum(count for _, count in rest):>8,}  for {len(rest):,} other reasons"


def named(actor: str, known: Collection[str]) -> str:
    """Name an actor, and say when this version has none."""
    if actor == dead_letters.UNREADABLE:
        return "what is no message"
    return actor if actor in known else f"{actor} (no such actor in this version)"


def line(one: DeadLetter, now_s: float) -> str:
    """Write one for a list; nothing of its content."""
    ids = [str(killmail_id) for killmail_id in one.killmail_ids[:KILLMAILS]]
    more = len(one.killmail_ids) - len(ids)
    killmails = f", killmails {', '.join(ids)}" if ids else ""
    return (
        f"{one.message_id}  {one.queue}  {one.actor}  {_sent(one, now_s)}, {one.tries} tries,"
        f" {one.size_bytes:,} bytes{killmails}{f' and {more:,} more' if more else ''}: {one.reason}"
    )


def _sent(one: DeadLetter, now_s: float) -> str:
    return "of unknown age" if one.sent_at_ms is None else ago(age_s(one, now_s))


def age_s(one: DeadLetter, now_s: float) -> float | None:
    """Tell how long ago it was sent, if it says when."""
    return None if one.sent_at_ms is None else round(now_s - one.sent_at_ms / 1000, 1)


def all_of(one: DeadLetter, body: bytes, known: Collection[str], now_s: float) -> Iterator[str]:
    """Write all of one."""
    yield f"message    {one.message_id}"
    yield f"queue      {one.queue}, now in {xq_name(one.queue)}"
    yield f"actor      {named(one.actor, known)}"
    yield f"sent       {_sent(one, now_s)}"
    yield f"tries      {one.tries}"
    yield f"reason     {one.reason}"
    yield f"bytes      {one.size_bytes:,}"
    yield f"killmails  {', '.join(map(str, one.killmail_ids)) or '-'}"
    message = dead_letters.parse(body)
    if message is None:
        yield f"content    {dead_letters.printable(body.decode('utf-8', 'backslashreplace'))}"
        return
    options = dict(message.options)
    traceback = str(options.pop("traceback", ""))
    yield f"options    {dead_letters.printable(str(options))}"
    for argument in _flat([*message.args, *message.kwargs.items()]):
        yield f"argument   {dead_letters.printable(argument)}"
    for line in traceback.splitlines():
        yield f"traceback  {dead_letters.printable(line)}"


def _flat(arguments: Iterable[Any]) -> Iterator[str]:
    """Give the arguments as text, the items of lists one by one."""
    for argument in arguments:
        if isinstance(argument, list):
            yield from _flat(argument)
        elif isinstance(argument, bytes):
            yield argument.decode("utf-8", "backslashreplace")
        else:
            yield str(argument)
