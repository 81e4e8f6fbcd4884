"""`killstream rejected`: list rejected records, show one, take some up again."""

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
import typer

from deploy.cli.ages import parse_age

SHOWN_LEFT: Final = 10

rejected: Final = typer.Typer(
    name="rejected",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""List what was rejected, show a record whole, take records up again.

    A rejected record is what came and was refused for good, with the reason: no killmail, or one
    that ESI has refused for hours. Nothing of it is lost. When the reason is gone (a newer version
    reads it, ESI is well again), take it up again: it goes to the ledger, and from there the way
    of every killmail.

    Example: killstream rejected retry --reason "ESI answers 422" --dry-run
    """,
)

ReasonOption = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", help="Only reasons that hold, or match, this text."),
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
    limit: Annotated[int, typer.Option(min=0, help="Records shown, the newest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Count the rejected records by reason, and show the newest.

    In the counts, long numbers and hashes are left out of the reasons.

    Example: killstream rejected list --reason "not a killmail" --newer-than 3d
    """
    from deploy.cli.rejected_records import Selection, ask, lines, list_records

    selection = Selection(reason, older_than, newer_than)
    listing = ask(lambda database: list_records(database, selection, limit))
    if as_json:
        typer.echo(msgspec.json.encode(listing))
    else:
        typer.echo("\n".join(lines(listing)))


@rejected.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As listed; its beginning is enough.")],
) -> None:
    """Print one record whole, as JSON: the reason, where it came from, and what came.

    Example: killstream rejected show 3f2a9c | jq -r .rejection.value
    """
    from deploy.cli.rejected_records import ask, find

    record = ask(lambda database: find(database, id_))
    typer.echo(msgspec.json.format(msgspec.json.encode(record)))


@rejected.command()
def retry(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="As listed, or their beginnings.")
    ] = None,
    reason: ReasonOption = "",
    everything: Annotated[bool, typer.Option("--all", help="All records.")] = False,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be taken up.")] = False,
) -> None:
    """Take rejected records up again: the ones named, those with a reason, or all.

    In one transaction each moves from the rejected records to the ledger, so none is lost when
    this ends in between. With RabbitMQ the actors get it at once; without, the process of
    `killstream up` takes it from the ledger, within a minute or when it starts. What is refused
    again is a rejected record again. The exit code is 1 when something can't be taken up.

    Example: killstream rejected retry --reason "ESI answers" --newer-than 12h
    """
    from deploy.cli.rejected_records import SHOWN_ID, Selection, ask
    from deploy.cli.rejected_retry import retry_records

    if bool(ids) + bool(reason) + everything != 1:
        raise typer.BadParameter("name records by their ids, or by --reason TEXT, or give --all")
    selection = Selection(reason, older_than, newer_than, before=datetime.now(UTC))
    taken, left = ask(
        lambda database: retry_records(database, ids or [], selection, dry_run=dry_run)
    )
    for id_, why in list(left.items())[:SHOWN_LEFT]:
        typer.echo(f"{id_[:SHOWN_ID]} stays rejected: {why}", err=True)
    typer.echo(
        f"{'would be taken' if dry_run else 'taken'} up again: {taken:,}, stay rejected:"
        f" {len(left):,}"
    )
    raise typer.Exit(1 if left else 0)
