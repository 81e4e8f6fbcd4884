"""`killstream keys`: the keys that encrypt users' tokens."""

import asyncio

import typer

from actors.shared.errors import KillstreamError
from actors.shared.settings import Settings
from deploy.cli.process import configure, fail

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
    configured = configure()
    try:
        rotated = asyncio.run(_rotate(configured))
    except KillstreamError as error:
        fail(error)
    typer.echo(f"the tokens of {rotated} characters are encrypted with the newest key")


async def _rotate(settings: Settings) -> int:
    from actors.shared.database import check_schema, open_database
    from actors.users.tokens import rotate_keys
    from actors.users.vault import open_vault

    vault = open_vault(settings)
    async with open_database(settings, "keys") as database:
        await check_schema(database)
        return await rotate_keys(database, vault)
