"""`killstream keys`: the keys that encrypt users' tokens."""

from typing import TYPE_CHECKING

import typer

from actors.shared.settings import settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

app = typer.Typer(
    no_args_is_help=True,
    help="""Make and replace the keys that encrypt users' tokens.

    Example: killstream keys new
    """,
)


@app.command()
def new() -> None:
    """Print a new key for KILLSTREAM_TOKEN_KEYS. It is stored nowhere.

    To replace a key, put the new one before the former one, separated by a comma, restart all
    processes, and run `killstream keys rotate`; then the former key can be removed.

    Example: export KILLSTREAM_TOKEN_KEYS="$(killstream keys new)"
    """
    from cryptography.fernet import Fernet

    typer.echo(Fernet.generate_key().decode())


@app.command()
def rotate() -> None:
    """Encrypt all tokens again with the first key of KILLSTREAM_TOKEN_KEYS. Safe to run again.

    Example: killstream keys rotate
    """
    from deploy.cli.on_database import run_on_database

    rotated = run_on_database(_rotate)
    typer.echo(f"the tokens of {rotated} characters are encrypted with the newest key")


async def _rotate(database: "AsyncEngine") -> int:
    from actors.users.tokens import rotate_keys
    from actors.users.vault import open_vault

    return await rotate_keys(database, open_vault(settings()))
