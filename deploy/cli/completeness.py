"""`killstream completeness`: which days lack killmails that zKillboard has."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from deploy.cli.history import FIRST
from deploy.cli.on_database import run_on_database


def completeness(
    first: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day (UTC).")
    ] = FIRST,
    last: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], help="The last day. Default: yesterday."),
    ] = None,
    audit: Annotated[
        bool,
        typer.Option("--audit", help="First audit these days now, and begin their repairs."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a calendar of what is stored beside what zKillboard has, as audits found it last.

    Audits run by themselves: the last 14 days each day after 06:00 UTC, imported days when
    zKillboard's number of killmails changes, and the others in turn. What is missing of them is
    fetched from ESI or taken from zKillboard's history; what neither gives is unobtainable. Days
    that weren't imported are only counted: `killstream history import` gets them.

    Exit code 1 while something is missing that may be had.

    Example: killstream completeness --from 2026-01-01
    """
    first_day = first.date()
    last_day = last.date() if last else datetime.now(UTC).date() - timedelta(days=1)
    if first_day > last_day:
        raise typer.BadParameter(f"{first_day} is after --to {last_day}", param_hint="--from")
    from deploy.cli.completeness_days import audit_now, print_calendar, read_days

    if audit:
        run_on_database(lambda database: audit_now(database, first_day, last_day))
    found = run_on_database(lambda database: read_days(database, first_day, last_day))
    if as_json:
        typer.echo(json.dumps(found.as_json()))
    else:
        print_calendar(found)
    if found.is_under_repair:
        raise typer.Exit(1)
