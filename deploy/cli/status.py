"""`killstream status`: what an operator wants at a glance."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.shared.settings import Settings
from deploy.cli.facts import (
    DatabaseFacts,
    Embedded,
    Facts,
    KafkaFacts,
    QueueFacts,
    RabbitmqFacts,
    RedisFacts,
    TopicFacts,
    Unreachable,
)
from deploy.cli.process import configure, servers

Part = DatabaseFacts | RabbitmqFacts | KafkaFacts | RedisFacts | Unreachable | Embedded
Row = tuple[str, str]

PARTS: Final = ("database", "rabbitmq", "kafka", "redis")
EMBEDDED: Final = "in the process of `killstream up`, not seen from here"
_STYLES: Final = {"answers": "green", "unreachable": "bold red", "embedded": "dim"}


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Show what is stored, what waits where, and which server is away.

    Asks the servers that the settings name: how many killmails are stored, how old the feed's last
    entry is, what is unpublished or was rejected, how far each source is read, what waits in the
    queues and on the topics. The exit code is 1 when a server is away.

    Example: killstream status --json | jq .database.last_stored_age_s
    """
    from deploy.cli.inspect import inspect

    configured = configure()
    for library in ("aiokafka", "pika"):  # what they would log is in the answer
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    facts = asyncio.run(inspect(configured))
    if as_json:
        typer.echo(msgspec.json.encode(facts))
    else:
        Console(highlight=False).print(table(facts, configured))
    raise typer.Exit(0 if facts.ok else 1)


def table(facts: Facts, settings: Settings) -> Table:
    """Lay the facts out, a section a server."""
    drawn = Table(title=f"Killstream at {facts.at:%Y-%m-%d %H:%M:%S} UTC", show_header=False)
    for _ in range(3):
        drawn.add_column(overflow="fold")
    places = servers(settings)
    for name in PARTS:
        part: Part = getattr(facts, name)
        state = str(part.__struct_config__.tag)
        drawn.add_row(
            Text(name),
            Text(state, _STYLES[state]),
            Text(EMBEDDED if isinstance(part, Embedded) else places[name]),
        )
        for what, value in _rows(part):
            drawn.add_row("", Text(what), Text(value))
        drawn.add_section()
    return drawn


def _rows(part: Part) -> Iterator[Row]:
    match part:
        case Unreachable(reason):
            yield "reason", reason
        case DatabaseFacts():
            yield from _database_rows(part)
        case RabbitmqFacts(queues):
            for name, queue in queues.items():
                yield name, _queue(queue)
        case KafkaFacts(topics):
            for name, topic in topics.items():
                yield name, _topic(topic)
        case RedisFacts(version, ping_ms):
            yield "ping", f"{ping_ms:g} ms, version {version}"


def _database_rows(facts: DatabaseFacts) -> Iterator[Row]:
    yield "killmails", _number(facts.killmails)
    yield "feed", f"sequence {facts.last_sequence}, stored {ago(facts.last_stored_age_s)}"
    yield "unpublished", _number(facts.unpublished)
    yield "rejected", _number(facts.rejected)
    for refusal in facts.latest_rejected:
        yield "", f"{ago(refusal.age_s)}: {refusal.reason}"
    for source in facts.sources:
        yield "source", f"{source.source} at {source.position}, {ago(source.age_s)}"
    oldest = f", oldest {ago(facts.ledger_oldest_age_s)}" if facts.ledger else ""
    yield "ledger", _number(facts.ledger) + oldest
    yield "names", _number(facts.names)


def _queue(queue: QueueFacts) -> str:
    if queue.ready is None:
        return "not there yet: no actors have run"
    counted = {"ready": queue.ready, "delayed": queue.delayed, "dead": queue.dead}
    return ", ".join(f"{_number(count)} {what}" for what, count in counted.items())


def _topic(topic: TopicFacts) -> str:
    if not topic.partitions:
        return "not there yet: no streams have run"
    lag = "" if topic.lag is None else f", {_number(topic.lag)} to read"
    return f"{topic.partitions} partitions, {_number(topic.messages)} messages{lag}"


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def ago(age_s: float | None) -> str:
    """Write an age as people say it."""
    if age_s is None:
        return "never"
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age_s >= 2 * seconds:
            return f"{age_s / seconds:.0f} {unit} ago"
    return f"{max(age_s, 0):.0f} s ago"
