"""`killstream dead`: list, show, retry and drop dead letters."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Final

import msgspec
import typer

from actors.rabbitmq import UNAVAILABLE, check_rabbitmq
from actors.shared.errors import KillstreamError, Misconfigured, ServerUnavailable
from actors.shared.outage import one_line
from actors.shared.queues import Queue
from actors.shared.settings import PREFIX, Settings
from deploy import dead_letters
from deploy.cli.ages import parse_age
from deploy.cli.dead_lines import actor_name, age_s, as_json, count_lines, detail_lines, line
from deploy.cli.process import configure, fail
from deploy.cli.reasons import kind_of
from deploy.dead_letters import DeadLetter

app = typer.Typer(
    no_args_is_help=True,
    help="""List, show, retry and drop dead letters: messages whose last try failed.

    RabbitMQ stores them for 7 days in the queues `*.XQ`. Their killmails aren't lost: the ledger
    has them and sends them again.

    Example: killstream dead list --older-than 2h
    """,
)

PROGRESS_S: Final = 1.0
"""Interval of the lines of progress."""


@dataclass(frozen=True)
class Filter:
    """Conditions for dead letters; None excludes none."""

    queue: str | None
    """With the namespace."""
    actor: str | None
    reason: str | None
    older_than_s: float | None
    newer_than_s: float | None
    limit: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the filter has no condition."""
        return self == Filter(None, None, None, None, None)

    def apply(self, dead: Iterable[DeadLetter], now_s: float) -> list[DeadLetter]:
        """Return the dead letters that meet all conditions, at most `limit`."""
        matching = (one for one in dead if self._matches(one, age_s(one, now_s)))
        return list(islice(matching, self.limit))

    def _matches(self, one: DeadLetter, age_s: float | None) -> bool:
        return (
            (self.queue is None or one.queue == self.queue)
            and (self.actor is None or one.actor == self.actor)
            and (self.reason is None or self.reason.lower() in one.reason.lower())
            and (self.older_than_s is None or (age_s is not None and age_s > self.older_than_s))
            and (self.newer_than_s is None or (age_s is not None and age_s < self.newer_than_s))
        )


QueueOption = Annotated[Queue | None, typer.Option("--queue", help="Only this queue's.")]
ActorOption = Annotated[str | None, typer.Option("--actor", help="Only this actor's.")]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", help="Only those whose reason contains this text.")
]
OlderOption = Annotated[
    float | None,
    typer.Option(
        "--older-than", parser=parse_age, metavar="AGE", help="Such as 90s, 30m, 2h or 3d."
    ),
]
NewerOption = Annotated[
    float | None,
    typer.Option(
        "--newer-than", parser=parse_age, metavar="AGE", help="Such as 90s, 30m, 2h or 3d."
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="At most so many, the oldest of each queue first."),
]
IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]…", help="Ids, or their first characters.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All that match the other options.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")]


@app.command("list")
def list_dead(
    queue: QueueOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    limit: LimitOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count dead letters by queue, actor and reason, then list them.

    Reasons that differ only in ids and hashes are counted as one. Changes nothing. Another
    `killstream dead` at the same time ends with an error.

    Example: killstream dead list --actor persist --older-than 2h
    """
    now_s = time.time()
    with _rabbitmq() as configured:
        wanted = Filter(
            _queue_name(configured, queue), actor, reason, older_than, newer_than, limit
        )
        found = wanted.apply(_read(configured), now_s)
    known = _known_actors()
    counts = Counter((one.queue, one.actor, kind_of(one.reason)) for one in found)
    if json:
        typer.echo(msgspec.json.encode(as_json(found, counts, known, now_s)))
        return
    typer.echo(f"{len(found):,} dead letters")
    for text in count_lines(counts, known):
        typer.echo(text)
    for one in found:
        typer.echo(line(one, now_s))


@app.command()
def show(
    message_id: Annotated[
        str, typer.Argument(metavar="ID", help="The id, or its first characters.")
    ],
) -> None:
    """Print one dead letter with its arguments and its traceback.

    Example: killstream dead show 0d1b4c
    """
    now_s = time.time()
    with _rabbitmq() as configured:
        (one, *_) = _by_ids(list(_read(configured)), [message_id])
        with dead_letters.connected(configured.rabbitmq_url) as connection:
            body = dead_letters.read_body(connection, one)
    if body is None:
        fail(KillstreamError(f"{one.message_id} doesn't exist any more"))
    for text in detail_lines(one, body, _known_actors(), now_s):
        typer.echo(text)


@app.command()
def retry(
    ids: IdsArgument = None,
    queue: QueueOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    limit: LimitOption = None,
    everything: AllOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Send dead letters to their queues again, with their count of tries reset.

    Each is published to its queue before it is removed from the dead letters, so a crash loses
    none. The exit code is 1 when some have no actor in this version; these stay dead letters.

    Example: killstream dead retry --reason TimeoutError --dry-run
    """
    with _rabbitmq() as configured:
        wanted = Filter(
            _queue_name(configured, queue), actor, reason, older_than, newer_than, limit
        )
        chosen = _choose(configured, ids or [], wanted, everything)
        known = _known_actors()
        possible = [one for one in chosen if one.actor in known]
        if dry_run:
            _print_dry_run("retry", possible)
        else:
            _run("retried", dead_letters.retry(configured.rabbitmq_url, possible), possible)
    unknown = Counter(one.actor for one in chosen if one.actor not in known)
    for name, count in unknown.items():
        typer.echo(
            f"killstream: {count:,} of {actor_name(name, known)} can't be retried and remain:"
            f" `killstream dead drop --actor {name}` removes them",
            err=True,
        )
    raise typer.Exit(1 if unknown else 0)


@app.command()
def drop(
    ids: IdsArgument = None,
    queue: QueueOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    limit: LimitOption = None,
    everything: AllOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Delete dead letters.

    Example: killstream dead drop --older-than 3d
    """
    with _rabbitmq() as configured:
        wanted = Filter(
            _queue_name(configured, queue), actor, reason, older_than, newer_than, limit
        )
        chosen = _choose(configured, ids or [], wanted, everything)
        if dry_run:
            _print_dry_run("drop", chosen)
            return
        with dead_letters.connected(configured.rabbitmq_url) as connection:
            _run("dropped", dead_letters.drop(connection, chosen), chosen)


@contextmanager
def _rabbitmq() -> Iterator[Settings]:
    """Check RabbitMQ and yield the settings; print an error in the block and end the command."""
    configured = configure()
    logging.getLogger("pika").setLevel(logging.CRITICAL + 1)  # the command's message has the error
    try:
        if not configured.rabbitmq_url:
            raise Misconfigured(
                f"{PREFIX}RABBITMQ_URL is not set, and without RabbitMQ there are no dead letters:"
                " failed work is repeated from the ledger"
            )
        asyncio.run(check_rabbitmq(configured, wait_s=0))
        yield configured
    except KillstreamError as error:
        fail(error)
    except UNAVAILABLE as error:
        fail(
            ServerUnavailable(
                f"lost RabbitMQ: {one_line(error)}; the other dead letters are unchanged"
            )
        )


def _queue_name(configured: Settings, queue: Queue | None) -> str | None:
    return configured.named(queue) if queue else None


def _read(configured: Settings) -> Iterator[DeadLetter]:
    with dead_letters.connected(configured.rabbitmq_url) as connection:
        queues = [configured.named(queue) for queue in Queue]
        yield from dead_letters.read_all(connection, queues)


def _choose(
    configured: Settings, ids: Sequence[str], wanted: Filter, everything: bool
) -> list[DeadLetter]:
    if not ids and wanted.is_empty and not everything:
        raise Misconfigured("select dead letters by ids, by options such as --actor, or with --all")
    found = wanted.apply(_read(configured), time.time())
    return _by_ids(found, ids) if ids else found


def _by_ids(found: Collection[DeadLetter], ids: Iterable[str]) -> list[DeadLetter]:
    chosen: list[DeadLetter] = []
    for prefix in ids:
        matching = [one for one in found if one.message_id.startswith(prefix)]
        different = {one.message_id for one in matching}
        if not matching:
            raise KillstreamError(f"no dead letter's id begins with {prefix!r}")
        if len(different) > 1:
            raise KillstreamError(
                f"{len(different)} ids begin with {prefix!r}: give more characters"
            )
        chosen += [one for one in matching if one not in chosen]
    return chosen


def _known_actors() -> frozenset[str]:
    from actors.worker import broker

    return frozenset(broker.get_declared_actors())


def _print_dry_run(verb: str, chosen: Sequence[DeadLetter]) -> None:
    now_s = time.time()
    typer.echo(f"would {verb} {len(chosen):,}")
    for one in chosen:
        typer.echo(line(one, now_s))


def _run(what: str, done: Iterator[DeadLetter], chosen: Sequence[DeadLetter]) -> None:
    """Run the iterator and print progress; the last line has the count, also after an error."""
    count, printed_s = 0, time.monotonic()
    try:
        for _ in done if chosen else ():
            count += 1
            if time.monotonic() - printed_s > PROGRESS_S:
                printed_s = time.monotonic()
                typer.echo(f"{what} {count:,} of {len(chosen):,}", err=True)
    finally:
        typer.echo(f"{what} {count:,} of {len(chosen):,}")
