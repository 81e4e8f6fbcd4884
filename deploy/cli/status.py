"""`killstream status`: the state of all servers, and the problems."""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from actors.shared.health.facts import (
    EXACT_ROWS,
    DatabaseFacts,
    Embedded,
    Facts,
    KafkaFacts,
    Problem,
    QueueFacts,
    RabbitmqFacts,
    RedisFacts,
    Sizes,
    Source,
    TableSize,
    TopicFacts,
    UniverseFacts,
    Unreachable,
)
from actors.shared.health.rule import problems_of, status_of
from actors.shared.settings import Settings
from deploy.cli.process import configure, servers

Part = DatabaseFacts | RabbitmqFacts | KafkaFacts | RedisFacts | Unreachable | Embedded
Row = tuple[str, str]

PARTS: Final = ("database", "rabbitmq", "kafka", "redis")
EMBEDDED: Final = "in the process of `killstream up`, not readable from this process"
_STYLES: Final = {
    "answers": "green",
    "unreachable": "bold red",
    "embedded": "dim",
    "up": "bold green",
    "degraded": "bold yellow",
    "down": "bold red",
}


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show stored killmails, queues, topics, and problems.

    Reads from the configured servers: the number of stored killmails, the age of the feed's last
    entry, unpublished entries and rejected records, each source's position, the sizes of database
    and tables, the messages in queues and topics. Counts of more than 100,000 rows are estimates.
    The status is up, degraded (a server doesn't answer, a topic is missing, work makes
    no progress) or down (no database). The exit code is 0 only for up.

    Example: killstream status --json | jq .database.last_stored_age_s
    """
    from deploy.cli.inspect import inspect

    configured = configure()
    facts = asyncio.run(inspect(configured))
    problems = problems_of(facts)
    if as_json:
        typer.echo(msgspec.json.encode(report(facts, problems)))
    else:
        Console(highlight=False).print(table(facts, problems, configured))
    raise typer.Exit(1 if problems else 0)


def report(facts: Facts, problems: list[Problem]) -> dict[str, Any]:
    """Build the JSON object: status, problems, then the facts."""
    return {
        "ok": not problems,
        "status": _status(facts, problems),
        "problems": problems,
        **msgspec.structs.asdict(facts),
    }


def _status(facts: Facts, problems: list[Problem]) -> str:
    return status_of(isinstance(facts.database, DatabaseFacts), problems)


def table(facts: Facts, problems: list[Problem], settings: Settings) -> Table:
    """Build the table: status and problems, then one section per server."""
    drawn = Table(title=f"Killstream at {facts.at:%Y-%m-%d %H:%M:%S} UTC", show_header=False)
    for _ in range(3):
        drawn.add_column(overflow="fold")
    state = _status(facts, problems)
    drawn.add_row(Text("status"), Text(state, _STYLES[state]), "")
    for problem in problems:
        drawn.add_row("", Text(problem.part), Text(problem.reason))
    drawn.add_section()
    addresses = servers(settings)
    for name in PARTS:
        part: Part = getattr(facts, name)
        state = str(part.__struct_config__.tag)
        drawn.add_row(
            Text(name),
            Text(state, _STYLES[state]),
            Text(EMBEDDED if isinstance(part, Embedded) else addresses[name]),
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
    yield "killmails", rows_text(facts.killmails)
    yield "feed", f"sequence {facts.last_sequence}, stored {ago(facts.last_stored_age_s)}"
    yield "unpublished", _number(facts.unpublished) + _oldest(facts.unpublished_oldest_age_s)
    yield "rejected", rows_text(facts.rejected) + _oldest(facts.rejected_oldest_age_s)
    for rejected in facts.latest_rejected:
        yield "", f"{ago(rejected.age_s)}: {rejected.reason}"
    for name, age_s in facts.pauses.items():
        yield "paused", f"{name}, {ago(age_s)}"
    for source in facts.sources:
        yield "source", _source(source)
    yield "ledger", _number(facts.ledger) + _oldest(facts.ledger_oldest_age_s)
    yield "holes", _number(facts.holes)
    yield "gaps", rows_text(facts.gaps)
    for gap in facts.latest_gaps:
        positions = f"{gap.first_position} to {gap.last_position}"
        yield "", f"{ago(gap.age_s)}: {gap.source} {positions}, {gap.reason}"
    yield "names", rows_text(facts.names)
    yield "universe", _universe(facts.universe)
    if facts.history_days:
        days = (f"{state}: {count:,}" for state, count in facts.history_days.items())
        yield "history", "days " + ", ".join(days)
    if facts.sizes is not None:
        yield from _size_rows(facts.sizes)


def _size_rows(sizes: Sizes) -> Iterator[Row]:
    yield "size", decimal(sizes.database_bytes)
    if sizes.bytes_per_killmail is not None:
        attackers = _number(sizes.attackers_bytes_per_killmail)
        yield "", f"{sizes.bytes_per_killmail:,} bytes a killmail, and {attackers} for attackers"
    for name, size in sizes.tables.items():
        yield "", f"{name}: {_table_size(size)}"


def _table_size(size: TableSize) -> str:
    indexes = decimal(size.index_bytes)
    return f"{decimal(size.total_bytes)} with {indexes} of indexes, {rows_text(size.rows)} rows"


def _universe(facts: UniverseFacts | None) -> str:
    if facts is None or facts.loaded_age_s is None:
        loaded = "not loaded yet"
    else:
        build = "" if facts.build_number is None else f"build {facts.build_number}, "
        loaded = f"{build}loaded {ago(facts.loaded_age_s)}, checked {ago(facts.checked_age_s)}"
    failed = f"; the last check failed: {facts.last_error}" if facts and facts.last_error else ""
    return loaded + failed


def _source(source: Source) -> str:
    tip = "" if source.tip is None else f" of {source.tip}"
    checked = (
        "" if source.checked_age_s is None else f", upstream checked {ago(source.checked_age_s)}"
    )
    return f"{source.source} at {source.position or '-'}{tip}, {ago(source.age_s)}{checked}"


def _oldest(age_s: float | None) -> str:
    return "" if age_s is None else f", oldest {ago(age_s)}"


def _queue(queue: QueueFacts) -> str:
    if queue.ready is None:
        return "doesn't exist yet: no actors have run"
    counted = {"ready": queue.ready, "delayed": queue.delayed, "dead": queue.dead}
    consumers = f", {queue.consumers} consumers" if queue.consumers is not None else ""
    return ", ".join(f"{_number(count)} {what}" for what, count in counted.items()) + consumers


def _topic(topic: TopicFacts) -> str:
    if not topic.partitions:
        return "doesn't exist yet: no streams have run"
    lag = "" if topic.lag is None else f", {_number(topic.lag)} to read"
    return f"{topic.partitions} partitions, {_number(topic.messages)} messages{lag}"


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def rows_text(count: int | None) -> str:
    """Format a count of rows; an estimate with three digits."""
    if count is None or count <= EXACT_ROWS:
        return _number(count)
    return f"about {round(count, 3 - len(str(count))):,}"


def ago(age_s: float | None) -> str:
    """Format an age in the largest unit of which it has at least two."""
    if age_s is None:
        return "never"
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age_s >= 2 * seconds:
            return f"{age_s / seconds:.0f} {unit} ago"
    return f"{max(age_s, 0):.0f} s ago"
