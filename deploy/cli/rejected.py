"""`killstream rejected`: list, show and retry rejected records."""

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
import typer

from deploy.cli.ages import parse_age
from deploy.shorten import printable

SHOWN_REASONS: Final = 10
"""Records that can't be retried and are printed with their reason."""

rejected: Final = typer.Typer(
    name="rejected",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""List, show and retry rejected records.

    A rejected record is input that can't be stored, with the reason: it isn't a killmail, or ESI
    refused its id for hours. The record has the whole input. Retry it when the reason no longer
    applies (a newer version can decode it, ESI's fault is over): it moves to the ledger, from which
    it is processed like every killmail.

    Example: killstream rejected retry --reason "ESI answers 422" --dry-run
    """,
)

ReasonOption = Annotated[
    str,
    typer.Option(
        "--reason",
        metavar="TEXT",
        help="Only reasons that contain this text or match it as a regular expression.",
    ),
]
OlderOption = Annotated[
    float | None,
    typer.Option("--older-than", metavar="AGE", parser=parse_age, help="Such as 2h or 3d."),
]
NewerOption = Annotated[
    float | None,
    typer.Option("--newer-than", metavar="AGE", parser=parse_age, help="Such as 30m."),
]


@rejected.command("list")
def list_(
    reason: ReasonOption = "",
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    limit: Annotated[int, typer.Option(min=0, help="Records to show, the newest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count the rejected records by reason, and show the newest.

    Reasons that differ only in ids and hashes are counted as one.

    Example: killstream rejected list --reason "not a killmail" --newer-than 3d
    """
    from deploy.cli.on_database import run_on_database
    from deploy.cli.rejected_records import Selection, lines, list_records

    selection = Selection(reason, older_than, newer_than)
    listing = run_on_database(lambda database: list_records(database, selection, limit))
    if as_json:
        typer.echo(msgspec.json.encode(listing))
    else:
        typer.echo("\n".join(lines(listing)))


@rejected.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id, or its first characters.")],
) -> None:
    """Print one record as JSON: the reason, the source, and the whole input.

    Example: killstream rejected show 3f2a9c | jq -r .rejection.value
    """
    from deploy.cli.on_database import run_on_database
    from deploy.cli.rejected_records import find

    record = run_on_database(lambda database: find(database, id_))
    typer.echo(msgspec.json.format(msgspec.json.encode(record)))


@rejected.command()
def retry(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids, or their first characters.")
    ] = None,
    reason: ReasonOption = "",
    everything: Annotated[bool, typer.Option("--all", help="All records.")] = False,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    dry_run: Annotated[bool, typer.Option(help="Only print what would be retried.")] = False,
) -> None:
    """Retry rejected records: by id, by reason, or all.

    Records move from the table rejected to the ledger in transactions, so a crash loses none. With
    RabbitMQ they are sent to the actors at once; without, `killstream up` sends them from the
    ledger, within a minute or at its next start. A record that fails again becomes a rejected
    record again. The exit code is 1 when a record can't be retried.

    Example: killstream rejected retry --reason "ESI answers" --newer-than 12h
    """
    from deploy.cli.on_database import run_on_database
    from deploy.cli.rejected_records import SHOWN_ID, Selection
    from deploy.cli.rejected_retry import retry_records

    if bool(ids) + bool(reason) + everything != 1:
        raise typer.BadParameter("select records by ids, by --reason TEXT, or with --all")
    selection = Selection(reason, older_than, newer_than, before=datetime.now(UTC))
    retried, still_rejected = run_on_database(
        lambda database: retry_records(database, ids or [], selection, dry_run=dry_run)
    )
    for id_, why in list(still_rejected.items())[:SHOWN_REASONS]:
        typer.echo(f"{id_[:SHOWN_ID]} is still rejected: {printable(why)}", err=True)
    typer.echo(
        f"{'would be retried' if dry_run else 'retried'}: {retried:,},"
        f" still rejected: {len(still_rejected):,}"
    )
    raise typer.Exit(1 if still_rejected else 0)
