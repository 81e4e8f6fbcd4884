"""`killstream queues`: messages, consumers, rates and ages of our queues."""

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from actors.shared.settings import Settings
from deploy.cli.process import configure

if TYPE_CHECKING:
    from actors.shared.health.queues import QueueReport, QueueState

READ_S: Final = 10.0
"""Time limit of the reads; what isn't known by then is reported as unknown."""
COLUMNS: Final = ("ready", "unacked", "consumers", "in/s", "out/s", "oldest")


def queues(
    watch: Annotated[
        bool, typer.Option("--watch", help="Repeat until Ctrl-C, with rates between two reads.")
    ] = False,
    every_s: Annotated[
        float, typer.Option("--every", min=0.5, metavar="SECONDS", help="Interval of --watch.")
    ] = 2.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, or one per line with --watch.")
    ] = False,
) -> None:
    """Show each queue with its delayed messages (.DQ) and dead letters (.XQ).

    ready waits in the queue, unacked was delivered to a process. The oldest message is the oldest
    that a process holds, which is the oldest of the queue while something consumes it; with
    RabbitMQ's management API (KILLSTREAM_RABBITMQ_MANAGEMENT_URL) also the one at the queue's head.
    The queues of `killstream up` are read from its gateway.
    Reads no message. "-" is not known: without that API, in/s needs --watch. The exit code is 1
    when a server didn't answer.

    Example: killstream queues --watch --every 5
    """
    configured = configure()
    if watch:
        _watch(configured, every_s, as_json=as_json)
        return
    report = _read(configured)
    if as_json:
        typer.echo(msgspec.json.encode(as_object(report)))
    else:
        Console(highlight=False).print(table(report))
    raise typer.Exit(1 if report.unknown else 0)


def _read(settings: Settings) -> "QueueReport":
    from deploy.queue_report import read_queues

    return asyncio.run(read_queues(settings, limit_s=READ_S))


def _watch(settings: Settings, every_s: float, *, as_json: bool) -> None:
    console = Console(highlight=False)
    last: tuple[float, QueueReport] | None = None
    with (
        suppress(KeyboardInterrupt),  # whatever it is doing then
        Live(console=console, auto_refresh=False, transient=False) as live,
    ):
        while True:
            now_s, report = time.monotonic(), _read(settings)
            shown = with_rates(report, last[1], now_s - last[0]) if last else report
            if as_json:
                typer.echo(msgspec.json.encode(as_object(shown)))
            else:
                live.update(table(shown), refresh=True)
            last = now_s, report
            time.sleep(max(0.0, every_s - (time.monotonic() - now_s)))


def with_rates(report: "QueueReport", before: "QueueReport", took_s: float) -> "QueueReport":
    """Fill in rates that aren't known, from two reads: what came in went out, or is still there."""
    states = {state.name: state for state in before.queues}
    return msgspec.structs.replace(
        report,
        queues=[
            _with_rate(state, states.get(state.name, state), took_s) for state in report.queues
        ],
    )


def _with_rate(now: "QueueState", before: "QueueState", took_s: float) -> "QueueState":
    if now.in_per_s is not None or now.messages is None or before.messages is None:
        return now
    grows_per_s = (now.messages - before.messages) / took_s
    in_per_s = round(max(0.0, grows_per_s + (now.out_per_s or 0.0)), 2)
    return msgspec.structs.replace(now, in_per_s=in_per_s)


def as_object(report: "QueueReport") -> dict[str, Any]:
    """Build the JSON object."""
    return {
        "queues": report.queues,
        "processes": report.processes,
        "source_paused_age_s": report.source_paused_age_s,
        "unknown": report.unknown,
    }


def table(report: "QueueReport") -> Table:
    """Build the table: one row for each queue, then what else there is to know."""
    drawn = Table(caption=_caption(report), caption_justify="left")
    drawn.add_column("queue")
    for column in COLUMNS:
        drawn.add_column(column, justify="right")
    drawn.add_column("state")
    for state in report.queues:
        drawn.add_row(
            state.name,
            _number(state.ready),
            _number(state.unacked),
            _number(state.consumers),
            _rate(state.in_per_s),
            _rate(state.out_per_s),
            age(state.oldest_age_s),
            _status(state),
        )
    return drawn


def _status(state: "QueueState") -> Text:
    if state.paused_age_s is not None:
        return Text(f"paused for {age(state.paused_age_s)}", "bold yellow")
    if state.ready and state.consumers == 0 and not state.name.endswith(".XQ"):
        return Text("nobody consumes it", "bold red")
    return Text("")


def _caption(report: "QueueReport") -> Text:
    running = [one.part for one in report.processes]
    polls = any(one.is_polling for one in report.processes)
    lines = [
        f"processes: {running.count('actors')} actors, {running.count('streams')} streams"
        f"{', polling' if polls else ''}"
    ]
    if report.source_paused_age_s is not None:
        lines.append(
            f"the source isn't polled: paused for {age(report.source_paused_age_s)},"
            " `killstream drain --resume` ends it"
        )
    lines += [f"{server} didn't answer: {reason}" for server, reason in report.unknown.items()]
    return Text("\n".join(lines))


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _rate(per_s: float | None) -> str:
    return "-" if per_s is None else f"{per_s:,.1f}"


def age(age_s: float | None) -> str:
    """Format an age in the largest unit of which it has at least two."""
    if age_s is None:
        return "-"
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age_s >= 2 * seconds:
            return f"{age_s / seconds:.0f} {unit}"
    return f"{age_s:.0f} s"
